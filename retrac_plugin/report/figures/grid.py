"""For each query its proponents and opponents, a row per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from retrac_plugin.errors import InputError
from retrac_plugin.report.contents import Method, Report
from retrac_plugin.report.figures.sheet import Sheet
from retrac_plugin.report.figures.style import COLUMN, SOFT, blank_figure
from retrac_plugin.report.neighbours import Neighbour, ends, legend
from retrac_plugin.report.numbers import decimals_for, exponent, score_text, unit_text

PROPONENTS = "Proponents: training images that\nlowered the loss of this picture most"
OPPONENTS = "Opponents: training images that\nraised the loss of this picture most"


@dataclass(frozen=True)
class Layout:
    """Lengths in inches, and letters in points.

    Attributes:
        margin: Around everything.
        query: Side of a query.
        image: Side of a training image.
        gap: Between two of them.
        letters: Size of the smallest.
        opponents: Whether they are drawn beside the proponents.
        most: Images of a list, at most.
    """

    margin: float
    query: float
    image: float
    gap: float
    letters: float
    opponents: bool
    most: int

    @property
    def line(self) -> float:
        """Height of a line of letters."""
        return self.letters * 1.45 / 72

    @property
    def row(self) -> float:
        """Height of a method's name, its images, and what stands below them."""
        return self.image + 4.2 * self.line

    @property
    def answers(self) -> float:
        """Where the lists begin."""
        return self.margin + self.query + 3 * self.gap

    def strip(self, count: int) -> float:
        """Return the width of a list."""
        return count * (self.image + self.gap)


WIDE = Layout(0.3, 1.15, 0.72, 0.12, 7, opponents=True, most=1_000)
"""As wide as the lists need: proponents and opponents side by side."""

IN_A_COLUMN = Layout(0.02, 0.6, 0.46, 0.05, 6, opponents=False, most=5)
"""As wide as a paper's column: five proponents at most."""


def proponent_grid(
    report: Report, queries: Sequence[int] | None = None, layout: Layout = WIDE
) -> Any:
    """Return the figure of queries with their proponents and opponents by each method.

    Args:
        report: What to show.
        queries: Positions of the queries to draw; default: all.
        layout: ``WIDE``, or ``IN_A_COLUMN`` for a paper, with proponents alone.

    Raises:
        InputError: If a query does not exist.
        MissingDependencyError: If matplotlib is not installed.
    """
    chosen = range(len(report.query_images)) if queries is None else queries
    wrong = [query for query in chosen if not 0 <= query < len(report.query_images)]
    if wrong or not chosen:
        raise InputError(
            f"queries: expected positions from 0 to {len(report.query_images) - 1}, at least one, "
            f"got {list(chosen)}"
        )
    report = replace(report, k=min(report.k, layout.most))
    ends_drawn = 2 if layout.opponents else 1
    strip = layout.strip(report.k)
    width = layout.answers + layout.margin + ends_drawn * strip + (ends_drawn - 1) * 4 * layout.gap
    width = width if layout.opponents else COLUMN
    head, block = 3 * layout.line + layout.margin, _block(report, layout)
    height = head + len(chosen) * block + 2.5 * layout.line
    figure = blank_figure(width, height)
    sheet = Sheet(_whole(figure))
    for heading, left in zip((PROPONENTS, OPPONENTS), _starts(report, layout), strict=False):
        bold = {"fontsize": layout.letters + 1.5, "fontweight": "bold", "linespacing": 1.3}
        sheet.text(heading, left, layout.margin, **bold)
    for position, query in enumerate(chosen):
        _draw_query(sheet, report, layout, query, head + position * block, width)
    _draw_legend(sheet, report, layout, height - 1.8 * layout.line)
    sheet.axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def _block(report: Report, layout: Layout) -> float:
    """Return the height of a query."""
    answers = len(report.methods) * layout.row
    return max(answers, layout.query + 3 * layout.line) + layout.line


def _starts(report: Report, layout: Layout) -> Sequence[float]:
    """Return where the lists begin: proponents, and opponents if they are drawn."""
    first = layout.answers
    second = first + layout.strip(report.k) + 4 * layout.gap
    return (first, second) if layout.opponents else (first,)


def _draw_query(
    sheet: Sheet, report: Report, layout: Layout, query: int, top: float, width: float
) -> None:
    sheet.rule(layout.margin, width - layout.margin, top)
    top += 1.6 * layout.line
    label = f"\n{report.query_labels[query]}" if report.query_labels else ""
    sheet.image(report.query_images[query], layout.margin, top, layout.query)
    below = top + layout.query + 0.06
    style = {"fontsize": layout.letters + 1, "linespacing": 1.3}
    sheet.text(f"query {query}{label}", layout.margin, below, **style)
    for position, method in enumerate(report.methods):
        _draw_answer(sheet, report, layout, method, query, top + position * layout.row)


def _draw_answer(
    sheet: Sheet, report: Report, layout: Layout, method: Method, query: int, top: float
) -> None:
    found = ends(report, method, query)
    scores = [one.score for end in found for one in end.neighbours]
    power = exponent(scores)
    text_of = partial(score_text, power=power, decimals=decimals_for(scores, power))
    above = {"va": "bottom", "fontsize": layout.letters + 0.5}
    for end, start in zip(found, _starts(report, layout), strict=False):
        name = method.name
        if end.name not in (PROPONENTS.partition(":")[0], OPPONENTS.partition(":")[0]):
            name = f"{name}: {end.name.lower()}; {end.remark}"
        sheet.text(f"{name}   {unit_text(power)}".strip(), start, top - 0.03, **above)
        for place, neighbour in enumerate(end.neighbours):
            at = start + place * (layout.image + layout.gap)
            _draw_neighbour(sheet, report, layout, neighbour, text_of(neighbour.score), at, top)


def _draw_neighbour(
    sheet: Sheet,
    report: Report,
    layout: Layout,
    neighbour: Neighbour,
    score: str,
    left: float,
    top: float,
) -> None:
    sheet.image(report.train_images[neighbour.index], left, top, layout.image)
    sheet.frame(neighbour.standing, left, top, layout.image)
    style = {"fontsize": layout.letters, "ha": "center"}
    middle, below = left + layout.image / 2, top + layout.image + 0.05
    sheet.text(score, middle, below, fontweight="bold", **style)
    caption = f"#{neighbour.index}\n{neighbour.label}"
    sheet.text(caption, middle, below + 0.9 * layout.line, color=SOFT, linespacing=1.2, **style)


def _draw_legend(sheet: Sheet, report: Report, layout: Layout, top: float) -> None:
    left, side = layout.margin, layout.line
    for standing, meaning in legend(report).items():
        sheet.frame(standing, left, top, side)
        style = {"fontsize": layout.letters, "va": "center"}
        sheet.text(f"frame: {meaning}", left + 1.6 * side, top + side / 2, **style)
        left += 4 * side + 0.0095 * layout.letters * len(meaning)


def _whole(figure: Any) -> Any:
    """Return axes that cover a figure."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return axes
