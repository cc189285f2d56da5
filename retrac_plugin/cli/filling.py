"""What fills a store: the features of some methods, and what they will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.job import Job
from retrac_plugin.cli.training import prepared
from retrac_plugin.store.sizes import SHARD_SAMPLES

if TYPE_CHECKING:
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.runs.run import Run
    from retrac_plugin.store.estimating import StoreEstimate
    from retrac_plugin.store.featurizing import Done
    from retrac_plugin.store.store import Store

rows = click.option(
    "--rows",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float16",
    show_default=True,
    help="In which numbers a store keeps features.",
)


@dataclass(frozen=True)
class Filling:
    """What a store is filled with: the options of `retrac featurize`, as another process gets them.

    Calling it returns what fills a share of the store.
    """

    job: Job
    methods: tuple[str, ...]
    store: Path
    rows: str
    shard_samples: int
    repair: bool

    def __call__(self) -> Callable[[tuple[int, int]], Done]:
        """Read run and training set, and return ``(which share, of how many) -> done``."""
        _, attributors, examples = self.read()
        return self.filler(self.made(), attributors, examples)

    def read(self) -> tuple[Run, dict[str, Any], FileExamples]:
        """Return the run, the methods by name, and the training set.

        Raises:
            InputError: If a method keeps no features.
        """
        from retrac_plugin.store.attributing import features_of_all

        found = self.job.read_run()
        examples = self.job.train_examples(found)
        attributors = self.job.chosen(found, self.methods, len(examples))
        features_of_all(attributors)
        return found, attributors, examples

    def made(self) -> Store:
        """Make the store, or open it."""
        from retrac_plugin.store.store import Store

        return Store.create(self.store, self.rows, self.shard_samples)

    def filler(
        self, store: Store, attributors: Mapping[str, Any], examples: FileExamples
    ) -> Callable[[tuple[int, int]], Done]:
        """Return what fills a share of the store."""
        from retrac_plugin.store.attributing import fill

        ready = prepared(examples)
        return lambda share: fill(store, attributors, ready, share, self.repair)


def over_actors(filling: Filling, actors: int) -> Done:
    """Have Ray actors fill a store, with a GPU each where one is asked for."""
    from retrac_plugin.distributed.ray_data import fill_over_actors

    device = filling.job.computing.device or "cpu"
    return fill_over_actors(filling, actors, gpus_each=float(device.startswith("cuda")))


def estimate_filling(
    attributors: Mapping[str, Any],
    examples: FileExamples,
    rows: str,
    shard_samples: int = SHARD_SAMPLES,
) -> StoreEstimate:
    """Return what a store of the features of some methods will take."""
    from retrac_plugin.data.examples import ExampleSource
    from retrac_plugin.store.attributing import features_of_all, setting_of
    from retrac_plugin.store.estimating import estimate_store
    from retrac_plugin.store.row_types import ROW_TYPES

    source, setting = ExampleSource(examples, "train"), setting_of(next(iter(attributors.values())))
    return estimate_store(
        setting, features_of_all(attributors), source, ROW_TYPES[rows], shard_samples
    )
