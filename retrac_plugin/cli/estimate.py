"""``retrac estimate``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.computing import max_memory, query_store
from retrac_plugin.cli.drawing import repeats, repeats_of
from retrac_plugin.cli.examples import example
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import methods
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.attribution.estimate import Estimate

STARTED = time.perf_counter()
"""Before torch is imported, which `retrac attribute` has to do as well."""


@click.command(epilog=example("retrac estimate runs/photos --train photos --queries 16"))
@click.option(
    "--queries",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many pictures are to be explained.",
)
@methods
@repeats
@quiet
@as_json
@job(max_memory, query_store)
def estimate(
    queries: int,
    methods: tuple[str, ...],
    repeats: int | None,
    job: Job,
) -> None:
    """Say what `retrac attribute` will take with the same options: time, memory and disk.

    A few batches of the training set are timed on this machine, as busy as it is now, and counted
    up. Of a latent model a few images are encoded for that, and stay in the cache.
    """
    from retrac_plugin.attribution.estimate import estimate as estimate_cost

    found = job.read_run()
    examples = job.train_examples(found)
    attributors = job.attributors(found, methods)
    times = repeats_of(found, repeats)
    starting = time.perf_counter() - STARTED
    cost = estimate_cost(attributors, examples, queries, times)
    tell(
        f"{len(examples)} training images, {queries} queries, {len(found.checkpoints)} "
        f"checkpoints, drawn {times} times, queries in {cost.blocks} blocks"
    )
    _print(cost, starting, job.training.cache)
    told = {"training_images": len(examples), "starting": starting, **asdict(cost)}
    answer(lambda: {**told, "seconds": starting + cost.seconds})


def _print(cost: Estimate, starting: float, cache: Path) -> None:
    parts = {
        "starting": starting,
        "encoding images": cost.encoding,
        "loading checkpoints": cost.loading,
        "queries": cost.queries,
        "training set": cost.training,
    }
    of = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts.items() if seconds)
    tell(f"time    {_duration(sum(parts.values()))}: {of}")
    gradients = f"{_size(cost.query_bytes)} of it the queries' gradients"
    if cost.device_memory:
        tell(f"GPU     {_size(cost.device_memory)}, {gradients}")
        tell(f"memory  {_size(cost.memory)}")
    else:
        tell(f"memory  {_size(cost.memory)}, {gradients}")
    encoded = f", {_size(cost.cache)} in {cache}" if cost.cache else ""
    tell(f"disk    {_size(cost.scores)} for scores{encoded}")


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _size(size: int) -> str:
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:.3g} {unit}"
    return f"{size} B"
