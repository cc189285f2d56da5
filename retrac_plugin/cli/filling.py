"""What fills a store: the features of some methods, and what they will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.store.estimating import StoreEstimate

SHARD_SAMPLES = 1024

rows = click.option(
    "--rows",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float16",
    show_default=True,
    help="In which numbers a store keeps features.",
)


def estimate_filling(
    attributors: Mapping[str, Any],
    examples: FileExamples,
    rows: str,
    shard_samples: int = SHARD_SAMPLES,
) -> StoreEstimate:
    """Return what a store of the features of some methods will take."""
    from retrac_plugin.data.examples import ExampleSource
    from retrac_plugin.store.attributing import features_of, setting_of
    from retrac_plugin.store.estimating import estimate_store
    from retrac_plugin.store.row_types import ROW_TYPES

    features = [f for name, each in attributors.items() for f in features_of(name, each)]
    source, setting = ExampleSource(examples, "train"), setting_of(next(iter(attributors.values())))
    return estimate_store(setting, features, source, ROW_TYPES[rows], shard_samples)
