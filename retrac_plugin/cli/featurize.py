"""``retrac featurize``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.filling import Filling, estimate_filling, over_actors, rows
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import check_method, methods
from retrac_plugin.cli.numbers import size
from retrac_plugin.cli.sharing import Share, share
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.voice import answer, as_json, quiet
from retrac_plugin.store.sizes import SHARD_SAMPLES


@click.command(
    epilog=example(
        "retrac featurize runs/photos --train photos --method best --store store",
        "retrac featurize runs/photos --train photos --store store --rank 3 --world-size 8",
    )
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the features; what is there already is not computed again.",
)
@methods
@rows
@click.option(
    "--shard-samples",
    type=click.IntRange(1),
    default=SHARD_SAMPLES,
    show_default=True,
    help="Training images in a file: what is computed again after an interruption.",
)
@click.option("--repair", is_flag=True, help="Read all files, and compute damaged ones again.")
@click.option(
    "--max-disk", help="Refuse, before the work, what would take more on disk, such as 50GB."
)
@click.option(
    "--max-memory",
    "most_memory",
    help="Likewise of memory, all of the process: smaller batches take less.",
)
@share
@click.option(
    "--ray",
    "actors",
    type=click.IntRange(1),
    help="Use this many Ray actors, of the cluster that this machine is part of, or local ones.",
)
@quiet
@as_json
@job()
def featurize(
    store: Path,
    methods: tuple[str, ...],
    rows: str,
    shard_samples: int,
    repair: bool,
    max_disk: str | None,
    most_memory: str | None,
    share: Share,
    actors: int | None,
    job: Job,
) -> None:
    """Compute the training set's features once, for `retrac attribute --store`.

    RUN is the folder of a training run. If it is killed, the same command resumes where it was;
    with more training images it computes the new ones alone. Several processes may work on one
    store, on one machine or on many with a common folder: give each its --rank, or start them with
    torchrun or as a Slurm array.
    """
    for name in methods:
        check_method(name)
    filling = Filling(job, methods, store, rows, shard_samples, repair)
    found, attributors, examples = filling.read()
    if max_disk or most_memory:
        expected = estimate_filling(attributors, examples, rows, shard_samples)
        expected.check(max_disk, most_memory)
    kept = filling.made()
    tell(found.description)
    if actors:
        done = over_actors(filling, actors)
    else:
        done = filling.filler(kept, attributors, examples)((share.rank, share.world_size))
    for path in done.damaged:
        tell(f"computed again, since it was damaged: {path}")
    others = f"; {done.left} are left to other processes" if done.left else ""
    answer(lambda: {**asdict(done), "store": str(store), "bytes": kept.bytes()})
    tell(
        f"{done.computed} files computed, {done.found} were there{others}: "
        f"{size(kept.bytes())} in {store}"
    )
