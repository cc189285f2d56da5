"""``retrac benchmark``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.output import check_output
from retrac_plugin.cli.paging import page, try_page
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.training import EXISTING
from retrac_plugin.cli.voice import answer, as_json, quiet


@click.command(
    epilog=example(
        "retrac benchmark digits --out results",
        "retrac benchmark runs/photos --train photos --queries drawn --methods trak,d-trak",
    )
)
@click.argument("task")
@click.option("--data", type=EXISTING, help="The file of a task that ships without its data.")
@click.option("--train", type=EXISTING, help="Of your own run: the training set, as trained.")
@click.option("--queries", type=EXISTING, help="Of your own run: the pictures to explain.")
@click.option(
    "--methods",
    help="Names that `retrac list` shows, with commas, or all, which takes hours. "
    "Default: those of the plugin core.",
)
@click.option("--metrics", help="Names that `retrac list` shows, with commas. Default: all.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-benchmark"),
    show_default=True,
    help="Folder for rows.csv, rows.json, table.md, the figures and, in work/, what is kept.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap intervals.")
@click.option("--device", help="cpu, cuda, cuda:1, mps, ... Default: where the task's network is.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: PyTorch's choice.")
@click.option(
    "--remove",
    type=click.IntRange(1),
    help="Also retrain without so many of each method's proponents of a few generated queries.",
)
@click.option(
    "--remove-queries",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="With --remove: of how many generated queries.",
)
@click.option(
    "--remove-seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="With --remove: how many models are retrained without each set of images.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Compute everything anew. By default scores that an earlier run kept are used again, if "
    "nothing that decides them has changed.",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that `retrac featurize` filled, or a new one: methods on features read the "
    "training set's side from it, after it was given what it lacks. What they cost is left out "
    "then.",
)
@page
@click.option(
    "--curve",
    is_flag=True,
    help="Also measure how LDS grows with the number of draws, shared noise beside noise of each "
    "sample's own.",
)
@click.option(
    "--regenerate",
    is_flag=True,
    help="Retrain for the task's ground truth instead; goes on where a killed run stopped.",
)
@quiet
@as_json
def benchmark(
    task: str,
    data: Path | None,
    train: Path | None,
    queries: Path | None,
    methods: str | None,
    metrics: str | None,
    out: Path,
    seed: int,
    device: str | None,
    threads: int | None,
    remove: int | None,
    remove_queries: int,
    remove_seeds: int,
    fresh: bool,
    store: Path | None,
    page: bool,
    curve: bool,
    regenerate: bool,
) -> None:
    """Compare methods by every metric, with the cost beside it.

    TASK is the name of a task, such as digits: a training set, a model, its checkpoints, and
    queries for which retraining has shown what they depend on. Each method is scored on all
    queries; damping is chosen on queries that are not reported; a method that fails gives a row
    with its reason. TASK may be the folder of a training run of your own, with --train and
    --queries.
    """
    import torch

    from retrac_plugin import plugins
    from retrac_plugin.benchmarks.page import render
    from retrac_plugin.benchmarks.removal import Removal
    from retrac_plugin.benchmarks.running import run

    check_output(out / "rows.json")
    own = task not in plugins.tasks() and Path(task).is_dir()
    source = _own(task, train, queries) if own else plugins.get_task(task)
    if data is not None:
        if not hasattr(source, "data"):
            raise click.UsageError(f"the task {task} takes no --data")
        source = replace(source, data=data)
    if threads is not None:
        torch.set_num_threads(threads)
    if regenerate:
        if not hasattr(source, "regenerate"):
            raise click.UsageError(f"the task {task} cannot --regenerate")
        truth = source.regenerate(out / "work")
        tell(f"the ground truth: {truth}")
        answer(lambda: {"ground_truth": truth})
        return
    measures = list(plugins.metrics()) if metrics is None else _names(metrics)
    removal = (
        None if remove is None else Removal(remove, queries=remove_queries, seeds=remove_seeds)
    )
    names = methods_of(methods)
    written = run(source, names, measures, out, seed, device, tell, removal, fresh, curve, store)
    for path in written:
        tell(f"wrote {path}")
    shown = try_page(lambda: render(out, written), out / "index.html") if page else None
    answer(lambda: {**_results(out), "files": written, "page": shown})


def methods_of(methods: str | None) -> list[str]:
    """Return what was asked for; frameworks' own methods, which are far slower, only on request."""
    from retrac_plugin import plugins

    known = plugins.attributors()
    if methods is None:
        return [name for name, (_, plugin) in known.items() if plugin == "core"]
    return list(known) if methods == "all" else _names(methods)


def _results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "rows.json").read_text(encoding="utf-8"))
    return found


def _names(listed: str) -> list[str]:
    return [name for name in listed.split(",") if name]


def _own(run: str, train: Path | None, queries: Path | None) -> Any:
    """Return a run of the caller's own as the source of a task."""
    from retrac_plugin.benchmarks.own import OwnRun

    if train is None or queries is None:
        raise click.UsageError("a run of your own needs --train and --queries")
    return OwnRun(Path(run), train, queries)
