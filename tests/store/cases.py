"""A small model with a store of its features."""

from __future__ import annotations

from pathlib import Path

import torch

from retrac_plugin import plugins
from retrac_plugin.store import attributing as of_store
from retrac_plugin.store.store import Store
from tests.small import small_case

TRAIN = 11
SHARD = 4


def case(**changes):
    return small_case(**{"train": TRAIN, "dtype": torch.float32, **changes})


def method(name, given, **options):
    kind = plugins.get_attributor(name)
    return kind(given.model, given.checkpoints, progress=False, **options)


def fill(folder, attributor, train, *, rows="float32", share=(0, 1), repair=False):
    """Compute what a store lacks for a method; returns what was done."""
    return of_store.fill(
        Store.create(folder, rows, SHARD), {"method": attributor}, train, share, repair
    )


def ask(folder, attributor, train, queries):
    """Return scores from a store."""
    ((_, scores),) = of_store.attribute_from(
        Store.open(folder), {"method": attributor}, train, queries
    )
    return scores


def content(folder):
    """Return every file of a folder, by its name in it."""
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def shards(folder):
    return sorted(Path(folder).glob("*/???-??????.safetensors"))
