"""The page: one HTML file that needs no other, for a reader who was not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.report.contents import MetricRow, Report
from retrac_plugin.report.listing import listing
from retrac_plugin.report.neighbours import legend
from retrac_plugin.report.norm_plot import lay_out
from retrac_plugin.report.numbers import row_texts
from retrac_plugin.report.shell import fill, put

TEMPLATE = "page.html.j2"

SCRIPTS = (
    "elements.js",
    "ticks.js",
    "cards.js",
    "terms.js",
    "evidence.js",
    "lists.js",
    "parts.js",
    "page.js",
)
"""The parts of its script, in order."""


@dataclass(frozen=True)
class TableLine:
    """A line of the table of metrics, as text; ``best`` holds the positions of the best methods."""

    row: MetricRow
    cells: Sequence[str]
    chance: str
    best: frozenset[int]


def write_page(report: Report, path: str | Path) -> Path:
    """Write a report as one self-contained HTML file, whole or not at all.

    Args:
        report: What to show; every string in it is escaped.
        path: Where to write it.

    Returns:
        The path.
    """
    return put(render(report), Path(path))


def render(report: Report) -> str:
    """Return a report as HTML."""
    return fill(
        TEMPLATE,
        SCRIPTS,
        report=report,
        listed=listing(report),
        lines=[_line(row) for row in _rows(report)],
        legend=legend(report),
        plot=lay_out(report.norms) if report.norms is not None else None,
    )


def _rows(report: Report) -> list[MetricRow]:
    """Return the metrics, with the seconds as the last row if they were measured."""
    seconds = [method.seconds for method in report.methods]
    if all(value is None for value in seconds):
        return list(report.rows)
    values = tuple(float("nan") if value is None else value for value in seconds)
    meaning = "wall-clock time to compute the scores"
    caution = "Methods computed together share most of their work."
    return [*report.rows, MetricRow("seconds", values, None, None, meaning, caution)]


def _line(row: MetricRow) -> TableLine:
    chance = [] if row.chance is None else row_texts([row.chance])
    cells = row_texts(row.values)
    return TableLine(row, cells, chance[0] if chance else "", _best(row, cells))


def _best(row: MetricRow, cells: list[str]) -> frozenset[int]:
    """Return the positions of the best methods, by what readers see; none where all are alike."""
    if row.higher_is_better is None or "n/a" in cells or len(set(cells)) == 1:
        return frozenset()
    best = (max if row.higher_is_better else min)(row.values)
    shown = cells[row.values.index(best)]
    return frozenset(position for position, cell in enumerate(cells) if cell == shown)
