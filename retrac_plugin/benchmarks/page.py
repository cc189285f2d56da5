"""The page of a benchmark, from the files that it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrac_plugin.benchmarks.differences import comparisons, read_differences
from retrac_plugin.benchmarks.panels import panels
from retrac_plugin.benchmarks.rows import Row, reasons_of
from retrac_plugin.benchmarks.running import CONTROLS
from retrac_plugin.benchmarks.tables import read_json
from retrac_plugin.metrics.cautions import caution
from retrac_plugin.report.images import as_uri
from retrac_plugin.report.shell import fill

TEMPLATE = "benchmark.html.j2"

FIGURES = {
    "lds": "LDS of every method, beside its ceiling and controls",
    "curve": "How LDS grows with the number of draws",
    "cost": "What a method costs against what its LDS is",
    "specificity": "How different the answers to different pictures are",
    "norms": "Influence against the length of gradients",
    "timesteps": "Which timesteps influence comes from",
    "proponents": "Pictures and their strongest proponents",
    "generated": "Pictures that the model drew",
}
"""What the figures show, for those who cannot see them too."""


def render(folder: Path, written: Sequence[Path]) -> str:
    """Return the page of a benchmark as HTML.

    Args:
        folder: Where ``rows.json`` is, and ``differences.csv`` if there is one.
        written: What the benchmark wrote: of the figures in the folder others may be older.

    Raises:
        InputError: If the rows cannot be read.
    """
    rows, about = read_json(folder / "rows.json")
    differences = read_differences(folder / "differences.csv")
    kinds = list(dict.fromkeys(row.queries for row in rows))
    return fill(
        TEMPLATE,
        task=str(about.get("task", "this task")),
        methods=list(dict.fromkeys(row.method for row in rows)),
        metrics=list(dict.fromkeys(row.metric for row in rows)),
        kinds=[
            (
                kind,
                panels([row for row in rows if row.queries == kind], CONTROLS),
                comparisons([each for each in differences if each.queries == kind]),
            )
            for kind in kinds
        ],
        caution=caution,
        cost=list({row.method: row for row in rows if row.seconds is not None}.values()),
        missing=_missing(rows),
        figures=_figures(written),
        configuration_of={name: _text(value) for name, value in about.items()},
    )


def _missing(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return reasons for missing values, and of what."""
    found = reasons_of(rows)
    return [(reason, ", ".join(dict.fromkeys(cases))) for reason, cases in found.items()]


def _figures(written: Sequence[Path]) -> list[tuple[str, str]]:
    """Return the figures as data URIs, each with what it shows."""
    return [
        (as_uri(path.read_bytes()), FIGURES.get(path.stem, path.stem))
        for path in written
        if path.suffix == ".png"
    ]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
