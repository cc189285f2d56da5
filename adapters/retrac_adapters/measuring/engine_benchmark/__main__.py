"""The command."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

from retrac_adapters.measuring.engine_benchmark import (
    frameworks,
    jobs,
    memory,
    others,
    ours,
    projected,
)
from retrac_adapters.measuring.engine_benchmark.timing import Measured, measure
from retrac_adapters.measuring.engine_benchmark.workload import DRAWS, SIZES, Workload
from retrac_adapters.measuring.engine_benchmark.writing import machine, write
from retrac_plugin.progress import over

PARTS = ("cost", "frameworks", "projections", "memory", "jobs")
TRAIN, QUERIES, TIMESTEPS = 50_000, 100, 10
WHOLE_JOB = (
    "official loop, 100 queries",
    "official loop, query side",
    "train side, 100 queries",
    f"query side, {DRAWS} draws",
)
"""The rows that a whole job adds up: the official train and query side, and ours."""


@click.command()
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS)
@click.option("--size", "sizes", type=click.Choice(list(SIZES)), multiple=True, default=SIZES)
@click.option("--rounds", default=7, show_default=True, help="Each is timed so many times.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder.")
def main(parts: tuple[str, ...], sizes: tuple[str, ...], rounds: int, out: Path) -> None:
    """Time the engine on one thread; add to the results that the folder holds already."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    file = out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"cost": {}}
    if "cost" in parts:
        for size in sizes:
            results["cost"][size] = _cost(size, rounds)
        results["cost"] = {size: results["cost"][size] for size in SIZES if size in results["cost"]}
        results["whole job"] = {s: _whole_job(rows) for s, rows in results["cost"].items()}
    if "frameworks" in parts:
        results["frameworks"] = _frameworks()
    if "projections" in parts:
        found = projected.agreements(Workload(SIZES["1.0 M"]))
        results["projections"] = [asdict(agreement) for agreement in found]
    if "memory" in parts:
        results["memory"] = _memory()
    if "jobs" in parts:
        results["jobs"] = [jobs.measured(job) for job in over(jobs.JOBS, "jobs", "job")]
    results["machine"] = machine()
    write(out, results)
    click.echo((out / "table.md").read_text())


def _cost(size: str, rounds: int) -> dict[str, Any]:
    work = Workload(SIZES[size])
    width = work.layout.width
    with ExitStack() as stack:
        ten, hundred = (
            stack.enter_context(ours.random_vectors(count, width)) for count in (10, 100)
        )
        contenders = ours.contenders(work, ten, hundred) | others.contenders(work, ten)
        return {name: _row(found) for name, found in measure(contenders, rounds).items()}


def _row(found: Measured) -> dict[str, Any]:
    return {
        "ratio": found.ratio,
        "spread": found.spread,
        "seconds per sample": found.seconds,
        "plain seconds per sample": found.plain_seconds,
    }


def _whole_job(rows: dict[str, Any]) -> dict[str, Any]:
    """Add up what a job of a common size costs, from the costs per sample."""
    # Ratios times one plain pass: the median of pairs is steadier than of seconds.
    plain: float = rows["train side, 10 queries"]["plain seconds per sample"]

    def hours(train: str, query: str) -> float:
        passes = ((TRAIN, rows[train]), (QUERIES * TIMESTEPS * DRAWS, rows[query]))
        costs = [float(count * row["ratio"]) for count, row in passes]
        return sum(costs) * plain / 3600

    official, own = hours(*WHOLE_JOB[:2]), hours(*WHOLE_JOB[2:])
    about = (
        f"{TRAIN:,} training samples, {QUERIES} queries at {TIMESTEPS} timesteps with {DRAWS} "
        "draws, one checkpoint (from the costs per sample)"
    )
    return {"official": official, "ours": own, "factor": official / own, "about": about}


def _frameworks() -> list[dict[str, Any]]:
    work = Workload(SIZES["1.0 M"])
    steps = {name: make(work) for name, make in frameworks.STEPS.items()}
    contenders = {name: frameworks.contender(work, step) for name, step in steps.items()}
    measured = measure(contenders, rounds=1)
    first = next(iter(measured.values()))
    samples = frameworks.TRAIN + frameworks.QUERIES
    return [
        {
            "name": name,
            "seconds": found.seconds * samples,
            "ratio": found.ratio,
            "over_ours": found.ratio / first.ratio,
        }
        for name, found in measured.items()
    ]


def _memory() -> list[dict[str, Any]]:
    cases = [
        *(("plain pass", batch, batch) for batch in (16, 32)),
        *(("train side, 10 queries", batch, samples) for batch, samples in ((16, 16), (16, 64))),
        ("train side, 10 queries", 32, 32),
        ("query side, 16 draws", 16, 16),
        ("count-sketch, d = 4,096", 16, 64),
        ("vmap(grad), 10 queries", 16, 16),
    ]
    return [
        {"way": w, "batch": b, "samples": s, "mib": memory.peak("6.5 M", w, b, s)}
        for w, b, s in cases
    ]


if __name__ == "__main__":
    main()
