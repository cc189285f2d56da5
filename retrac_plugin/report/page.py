"""The page: one HTML file that needs no other, for a reader who was not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from retrac_plugin.files import write_atomically
from retrac_plugin.report.contents import Method, MetricRow, Report
from retrac_plugin.report.images import data_uri
from retrac_plugin.report.neighbours import Neighbour, ends, legend
from retrac_plugin.report.norm_plot import lay_out
from retrac_plugin.report.numbers import decimals_for, exponent, row_texts, score_text, unit_text

TEMPLATE = "page.html.j2"
QUERY_SIDE, TRAIN_SIDE = 192, 96
"""Larger images are shrunk to these, or a page of big ones would be too heavy to open."""

BLOCKS_BELOW = 64
"""Smaller images are shown as sharp blocks, larger ones smoothed."""

WIDEST_STRIP = 6
"""Images side by side; longer strips are broken in two."""


@dataclass(frozen=True)
class Answer:
    """What one method says about one query.

    Attributes:
        method: Its name.
        unit: Of its scores, as text, or empty.
        strips: Heading, remark and entries (neighbour, score as text), for both ends.
    """

    method: str
    unit: str
    strips: Sequence[tuple[str, str, Sequence[tuple[Neighbour, str]]]]


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
    path = Path(path)
    html = render(report)
    write_atomically(path, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    return path


def render(report: Report) -> str:
    """Return a report as HTML."""
    environment = Environment(
        loader=PackageLoader("retrac_plugin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        report=report,
        answers=[_answers(report, query) for query in range(len(report.query_images))],
        lines=[_line(row) for row in _rows(report)],
        legend=legend(report),
        plot=lay_out(report.norms) if report.norms is not None else None,
        columns=report.k if report.k <= WIDEST_STRIP else -(-report.k // 2),
        as_blocks=max(report.train_images.shape[2:]) < BLOCKS_BELOW,
        query_picture=partial(data_uri, largest_side=QUERY_SIDE),
        train_picture=partial(data_uri, largest_side=TRAIN_SIDE),
    )


def _answers(report: Report, query: int) -> list[Answer]:
    return [_answer(report, method, query) for method in report.methods]


def _answer(report: Report, method: Method, query: int) -> Answer:
    found = ends(report, method, query)
    scores = [one.score for end in found for one in end.neighbours]
    power = exponent(scores)
    # Where a standard error stands beside each score, it says which of its digits count.
    decimals = decimals_for(scores if method.scores.standard_errors is None else [], power)
    return Answer(
        method.name,
        unit_text(power),
        [
            (
                end.name,
                end.remark,
                [
                    (one, score_text(one.score, power, one.error, decimals))
                    for one in end.neighbours
                ],
            )
            for end in found
        ],
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
