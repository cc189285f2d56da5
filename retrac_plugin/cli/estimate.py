"""``retrac estimate``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.computing import max_memory, query_store
from retrac_plugin.cli.drawing import repeats, repeats_of
from retrac_plugin.cli.examples import example
from retrac_plugin.cli.filling import estimate_filling, rows
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import by_kind, methods
from retrac_plugin.cli.numbers import size
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.attribution.estimate import Estimate
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.store.estimating import StoreEstimate

STARTED = time.perf_counter()
"""Before torch is imported, which `retrac attribute` has to do as well."""


@click.command(
    epilog=example(
        "retrac estimate runs/photos --train photos --queries 16",
        "retrac estimate runs/photos --train photos --queries 16 --method best",
        "retrac estimate runs/photos --train photos --method best --store",
    )
)
@click.option(
    "--queries",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many pictures are to be explained.",
)
@methods
@repeats
@click.option(
    "--store", is_flag=True, help="What `retrac featurize` will take instead, and a question after."
)
@rows
@quiet
@as_json
@job(max_memory, query_store)
def estimate(
    queries: int,
    methods: tuple[str, ...],
    repeats: int | None,
    store: bool,
    rows: str,
    job: Job,
) -> None:
    """Say what `retrac attribute` will take with the same options: time, memory and disk.

    A few batches of the training set are timed on this machine, as busy as it is now, and counted
    up. Of a latent model a few images are encoded for that, and stay in the cache.
    """
    found = job.read_run()
    examples = job.train_examples(found)
    attributors = job.chosen(found, methods, len(examples))
    if store:
        filling = estimate_filling(attributors, examples, rows)
        _print_store(filling, len(examples))
        answer(lambda: {"training_images": len(examples), **filling._asdict()})
        return
    starting = time.perf_counter() - STARTED
    cost, drawn = _of_methods(attributors, examples, queries, repeats, repeats_of(found, repeats))
    tell(
        f"{len(examples)} training images, {queries} queries, {len(found.checkpoints)} "
        f"checkpoints, {drawn}, queries in {cost.blocks} blocks"
    )
    _print(cost, starting, job.training.cache)
    told = {"training_images": len(examples), "starting": starting, **asdict(cost)}
    answer(lambda: {**told, "seconds": starting + cost.seconds})


def _of_methods(
    attributors: Mapping[str, Any],
    examples: FileExamples,
    queries: int,
    repeats: int | None,
    of_run: int,
) -> tuple[Estimate, str]:
    """Return what methods take, the paper's two and those on features, and how often they draw.

    Args:
        attributors: By name.
        examples: The training set.
        queries: How many.
        repeats: How often all is drawn; None: as each kind does unless told otherwise.
        of_run: How often the paper's two draw.
    """
    from retrac_plugin.attribution.estimate import estimate
    from retrac_plugin.errors import InputError
    from retrac_plugin.methods.estimating import estimate_features, together

    kinds = by_kind(attributors)
    costs, drawn = [], []
    for own, estimate_kind, times in (
        (kinds.of_paper, estimate, of_run),
        (kinds.on_features, estimate_features, repeats or 1),
    ):
        if own:
            costs.append(estimate_kind(list(own.values()), examples, queries, times))
            drawn.append(f"drawn {times} times")
    if kinds.others:
        raise InputError(
            f"estimate: no estimate of {', '.join(kinds.others)}, expected diffusion-tracin, "
            "diffusion-retrac or a method on features"
        )
    return together(costs), " and ".join(dict.fromkeys(drawn))


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
    gradients = f"{size(cost.query_bytes)} of it the queries' gradients"
    if cost.device_memory:
        tell(f"GPU     {size(cost.device_memory)}, {gradients}")
        tell(f"memory  {size(cost.memory)}")
    else:
        tell(f"memory  {size(cost.memory)}, {gradients}")
    encoded = f", {size(cost.cache)} in {cache}" if cost.cache else ""
    tell(f"disk    {size(cost.scores)} for scores{encoded}")


def _print_store(cost: StoreEstimate, images: int) -> None:
    pays = (
        f"paid for after {cost.pays_after:g} questions" if cost.pays_after < inf else "never paid"
    )
    tell(f"{images} training images")
    tell(f"time    {_duration(cost.seconds)} once, killed and resumed as often as one likes")
    if cost.device_memory:
        tell(f"GPU     {size(cost.device_memory)}")
    tell(f"memory  {size(cost.memory)}")
    tell(f"disk    {size(cost.disk)}")
    tell(
        f"then    {_duration(cost.question)} a question of one picture instead of "
        f"{_duration(cost.without)}: {pays}"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
