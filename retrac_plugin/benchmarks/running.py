"""A benchmark from task to files."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from retrac_plugin import plugins
from retrac_plugin.benchmarks.curve import METHODS as CURVED
from retrac_plugin.benchmarks.curve import curve, write_points
from retrac_plugin.benchmarks.differences import (
    continued_differences,
    lds_differences,
    write_differences,
)
from retrac_plugin.benchmarks.figures import draw_figures
from retrac_plugin.benchmarks.figures.curve import lds_by_passes
from retrac_plugin.benchmarks.removal import Removal, check, removal_rows
from retrac_plugin.benchmarks.rows import measure
from retrac_plugin.benchmarks.scoring import Tell, score_methods
from retrac_plugin.benchmarks.stored import Stored
from retrac_plugin.benchmarks.tables import write_csv, write_json, write_markdown
from retrac_plugin.benchmarks.task import Task, TaskSource
from retrac_plugin.errors import PluginError
from retrac_plugin.report.figures.style import save
from retrac_plugin.store.store import Store

CONTROLS = ("pixel-kernel", "untrained-kernel", "random")
"""Methods that every table has: likeness of pixels, what no training gives, and chance."""

PACKAGES = (
    "retrac-plugin",
    "torch",
    "numpy",
    "scipy",
    "diffusers",
    "captum",
    "dattri",
    "kronfluence",
)


def run(  # noqa: PLR0913, PLR0917
    source: TaskSource,
    methods: Sequence[str],
    metrics: Sequence[str],
    out: Path,
    seed: int,
    device: str | None,
    tell: Tell,
    removal: Removal | None = None,
    fresh: bool = False,
    by_draws: bool = False,
    store: Path | None = None,
) -> list[Path]:
    """Prepare a task, score and measure every method, and write everything below ``out``.

    Args:
        source: The task.
        methods: Names of attributors; the controls come after them.
        metrics: Names of metrics.
        out: A folder; what takes long is kept in its ``work`` folder.
        seed: Of the bootstrap intervals.
        device: Where methods compute; None: where the task's network is.
        tell: Says what is going on.
        removal: What to remove and retrain without, if anything.
        fresh: Whether to compute anew the scores that an earlier run kept.
        by_draws: Whether to measure too how LDS grows with the number of draws.
        store: Folder of a store from which methods on features are scored, filled with what it
            lacks; None: they are computed.

    Returns:
        What was written.

    Raises:
        PluginError: If a method or a metric is unknown.
        RetracError: If the task cannot be prepared.
    """
    entries = [_entry(name) for name in metrics]
    for name in methods:
        if name not in plugins.attributors():
            plugins.get_attributor(name)  # says which there are
    methods = [*dict.fromkeys((*methods, *CONTROLS))]
    start = time.perf_counter()
    task = replace(source.prepare(out / "work"), device=device)
    prepared = time.perf_counter() - start
    if removal is not None:
        check(task, removal)  # now, not after the scores
    own = any(entry.name.startswith("outliers") for entry in entries)
    stored = None if store is None else Stored(Store.open_or_create(store))
    outcomes = score_methods(task, methods, tell, out / "work" / "kept", own, fresh, stored)
    for outcome in outcomes:
        for queries, scores in outcome.scores.items():
            scores.save(out / "work" / "scores" / f"{outcome.method}-{queries}.safetensors")
    tell("measuring")
    rows = measure(task, outcomes, entries, seed)
    if removal is not None:
        tell("retraining without proponents")
        rows += removal_rows(task, outcomes, removal)
    differences = lds_differences(task, outcomes, seed)
    seconds = {"preparing": prepared, "everything": time.perf_counter() - start}
    files = {name: out / name for name in ("rows.csv", "rows.json", "differences.csv", "table.md")}
    write_csv(rows, files["rows.csv"])
    write_json(rows, {**_about(task, seed, seconds), **_removed(removal)}, files["rows.json"])
    write_differences(differences, files["differences.csv"])
    write_markdown(rows, differences, files["table.md"])
    written = [*files.values(), *draw_figures(task, outcomes, rows, out)]
    if left_out := continued_differences(task, outcomes, seed):
        written.append(out / "differences-continued.csv")
        write_differences(left_out, written[-1])
    return [*written, *_curve(task, out, tell)] if by_draws else written


def _curve(task: Task, out: Path, tell: Tell) -> list[Path]:
    points = curve(task, CURVED, out / "work" / "kept", tell)
    write_points(points, out / "curve.csv")
    figure = lds_by_passes(points)
    return [out / "curve.csv", *([] if figure is None else [save(figure, out / "curve.png")])]


def _removed(removal: Removal | None) -> dict[str, Any]:
    return {} if removal is None else {"removal": asdict(removal)}


def _entry(name: str) -> Any:
    if name not in plugins.metrics():
        raise PluginError(f"unknown metric {name!r}: installed are {', '.join(plugins.metrics())}")
    return plugins.metrics()[name][0]


def _about(task: Task, seed: int, seconds: dict[str, float]) -> dict[str, Any]:
    queries = {
        kind.name: {"all": len(kind.examples), "held back": kind.held_back} for kind in task.queries
    }
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "task": task.name,
        **task.about,
        "queries": queries,
        "batch size": task.batch_size,
        "seed of the intervals": seed,
        "seconds": {name: round(spent, 1) for name, spent in seconds.items()},
        "device": task.device or "the network's",
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": versions,
    }
