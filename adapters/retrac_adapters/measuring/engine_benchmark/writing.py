"""The measurements as JSON and as a page."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from retrac_adapters.measuring.engine_benchmark.workload import SIZES
from retrac_plugin.files import write_atomically

TARGETS = {
    "train side, 10 queries": (1.25, 1.05, 0.95),
    "train side, 100 queries": (1.6, 1.2, 1.45),
    "query side, 16 draws": (1.25, 1.1, 1.0),
    "count-sketch, d = 4,096": (1.35, 1.1, 0.9),
    "factored, side 8": (1.05, 0.8, 0.7),
}
"""What was asked for, at 1.0, 6.5 and 35.7 million parameters."""


def machine() -> dict[str, Any]:
    """Describe where this was measured."""
    packages = ("torch", "diffusers", "captum", "dattri")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages if find_spec(name)},
        "load average at the end": [round(load, 2) for load in os.getloadavg()],
    }


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json`` and ``table.md`` into a folder."""
    text = json.dumps(results, indent=2) + "\n"
    write_atomically(folder / "results.json", lambda path: path.write_text(text))
    write_atomically(folder / "table.md", lambda path: path.write_text(page(results)))


def page(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown tables."""
    sections: dict[str, Callable[[Any], str]] = {
        "cost": _costs,
        "whole job": _whole_jobs,
        "frameworks": _frameworks,
        "projections": _projections,
        "memory": _memory,
        "jobs": _jobs,
    }
    parts = [make(results[name]) for name, make in sections.items() if results.get(name)]
    lines = [f"- {name}: {value}" for name, value in results["machine"].items()]
    return "\n\n".join([*parts, "### Machine\n\n" + "\n".join(lines)]) + "\n"


def _costs(costs: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for rows in costs.values() for name in rows))
    rows = []
    for name in names:
        cells = []
        targets = dict(zip(SIZES, TARGETS.get(name, ()), strict=False))
        for size in costs:
            cell = costs[size].get(name)
            asked = f" / {targets[size]}" if size in targets else ""
            cells.append("-" if cell is None else f"{_ratio(cell)}{asked}")
        rows.append([name, *cells])
    title = (
        "### CPU time over a plain forward and backward pass: median (lowest to highest) / target"
    )
    return title + "\n\n" + _table(["", *costs], rows)


def _ratio(cell: Mapping[str, Any]) -> str:
    low, high = cell["spread"]
    return f"**{cell['ratio']:.2f}** ({low:.2f} to {high:.2f})"


def _whole_jobs(jobs: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [size, f"{job['official']:.1f}", f"{job['ours']:.1f}", f"**{job['factor']:.1f}**"]
        for size, job in jobs.items()
    ]
    about = next(iter(jobs.values()))["about"]
    header = ["", "official loop, CPU hours", "this engine, CPU hours", "factor"]
    return f"### A whole job: {about}\n\n" + _table(header, rows)


def _frameworks(rows: Iterable[Mapping[str, Any]]) -> str:
    cells = [
        [r["name"], f"{r['seconds']:.2f}", f"{r['ratio']:.2f}", f"{r['over_ours']:.1f}"]
        for r in rows
    ]
    header = ["64 training samples, 10 queries", "CPU seconds", "over plain", "over this engine"]
    return "### Frameworks, 1.0 M parameters\n\n" + _table(header, cells)


def _projections(rows: Iterable[Mapping[str, Any]]) -> str:
    columns = ("tracin", "retrac", "top")
    cells = [
        [r["projection"], str(r["dimension"]), *(f"{r[k]:.4f}" for k in columns)] for r in rows
    ]
    header = ["", "d", "rank correlation, TracIn", "ReTrac", "share of top 10"]
    return "### Projected against exact scores, 1.0 M parameters\n\n" + _table(header, cells)


def _memory(rows: Iterable[Mapping[str, Any]]) -> str:
    cells = [[r["way"], str(r["batch"]), str(r["samples"]), f"{r['mib']:.0f}"] for r in rows]
    header = ["", "batch", "samples in all", "MiB"]
    title = "### Peak memory above network, data and query matrix, 6.5 M parameters"
    return f"{title}\n\n" + _table(header, cells)


def _jobs(rows: Iterable[Mapping[str, Any]]) -> str:
    cells = [
        [
            str(r["queries"]),
            str(r["train"]),
            r["max_memory"] or "",
            "file" if r["in_file"] else "memory",
            f"{r['at once']} / {r['batch']}",
            f"{r['mib']:.0f}",
            f"{r['law']:.0f}",
        ]
        for r in rows
    ]
    header = ["queries", "training samples", "`max_memory`", "queries' gradients in"]
    header += ["queries at once / batch", "measured, MiB", "by the law, MiB"]
    title = "### Peak memory of a whole job above network and data, 6.5 M parameters"
    return f"{title}\n\n" + _table(header, cells)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
