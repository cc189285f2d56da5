"""The figure: for each query its proponents and opponents, a row per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.extras import requires
from retrac_plugin.files import write_atomically
from retrac_plugin.report.contents import Method, Report
from retrac_plugin.report.images import pixels
from retrac_plugin.report.neighbours import Neighbour, Standing, ends, legend
from retrac_plugin.report.numbers import decimals_for, exponent, score_text, unit_text

DPI = 160
MARGIN, QUERY, NAME, IMAGE, GAP, BETWEEN = 0.3, 1.15, 1.35, 0.72, 0.12, 0.5
HEAD, CAPTION, AFTER_QUERY, FOOT = 0.95, 0.52, 0.3, 0.5
"""Widths and heights in inches."""

INK, SOFT, RULE = "#1f252b", "#59636e", "#d9d5cc"
FRAMES = {Standing.MINORITY: ("#d55e00", "-", 2.2), Standing.OTHER_CLASS: ("#0072b2", "--", 1.4)}
"""Colour, stroke and width; told apart without colour, and by the colour blind."""

PROPONENTS = "Proponents: training images that\nlowered the loss of this picture most"
OPPONENTS = "Opponents: training images that\nraised the loss of this picture most"


@dataclass(frozen=True)
class Sheet:
    """A drawing surface measured in inches from its top left corner."""

    axes: Any

    def image(self, image: Tensor | None, left: float, top: float, side: float) -> None:
        """Draw an image, fitted into a square, each pixel a sharp block; nothing for None."""
        if image is None:
            return
        levels = pixels(image, largest_side=round(side * DPI))
        height, width = levels.shape[:2]
        scale = side / max(height, width)
        left, top = left + (side - width * scale) / 2, top + (side - height * scale) / 2
        extent = (left, left + width * scale, top + height * scale, top)
        colours = levels[..., 0] if levels.shape[2] == 1 else levels
        self.axes.imshow(
            colours, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest"
        )

    def text(self, text: str, left: float, top: float, **style: Any) -> None:
        """Write text below and right of a point."""
        style = {"color": INK, "va": "top", "parse_math": False, **style}  # a label may hold a $
        self.axes.text(left, top, text, **style)

    def frame(self, standing: Standing, left: float, top: float, side: float) -> None:
        """Draw the frame of a standing around a square; plain has none."""
        if standing not in FRAMES:
            return
        colour, stroke, width = FRAMES[standing]
        corners = (
            (left, left + side, left + side, left, left),
            (top, top, top + side, top + side, top),
        )
        self.axes.plot(*corners, color=colour, linestyle=stroke, linewidth=width)

    def rule(self, left: float, right: float, top: float) -> None:
        """Draw a thin horizontal line."""
        self.axes.plot((left, right), (top, top), color=RULE, linewidth=0.8)


def draw_grid(report: Report, path: str | Path, queries: Sequence[int] | None = None) -> Path:
    """Draw queries with their proponents and opponents per method, and write the figure as PNG.

    Args:
        report: What to show.
        path: Where to write it, whole or not at all.
        queries: Positions of the queries to draw; default: all.

    Returns:
        The path.

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
    path, figure = Path(path), _figure(report, chosen)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path


def _figure(report: Report, queries: Sequence[int]) -> Any:
    strip = report.k * (IMAGE + GAP)
    width = 2 * MARGIN + QUERY + NAME + 2 * strip + BETWEEN
    block = len(report.methods) * (IMAGE + CAPTION) + AFTER_QUERY
    height = HEAD + len(queries) * block + FOOT
    figure, sheet = _blank(width, height)
    answers = MARGIN + QUERY + NAME
    for heading, left in ((PROPONENTS, answers), (OPPONENTS, answers + strip + BETWEEN)):
        sheet.text(heading, left, MARGIN, fontsize=9, fontweight="bold", linespacing=1.4)
    for position, query in enumerate(queries):
        _draw_query(sheet, report, query, HEAD + position * block, width)
    _draw_legend(sheet, report, height - FOOT)
    sheet.axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def _draw_query(sheet: Sheet, report: Report, query: int, top: float, width: float) -> None:
    sheet.rule(MARGIN, width - MARGIN, top - AFTER_QUERY / 2)
    label = f"\n{report.query_labels[query]}" if report.query_labels else ""
    sheet.image(report.query_images[query], MARGIN, top, QUERY)
    sheet.text(f"query {query}{label}", MARGIN, top + QUERY + 0.08, fontsize=8, linespacing=1.4)
    for position, method in enumerate(report.methods):
        row = top + position * (IMAGE + CAPTION)
        _draw_answer(sheet, report, method, query, row)


def _draw_answer(sheet: Sheet, report: Report, method: Method, query: int, top: float) -> None:
    left = MARGIN + QUERY + NAME
    strip = report.k * (IMAGE + GAP)
    found = ends(report, method, query)
    scores = [one.score for end in found for one in end.neighbours]
    power = exponent(scores)
    text_of = partial(score_text, power=power, decimals=decimals_for(scores, power))
    name = f"{method.name}\n{unit_text(power)}".strip()
    style = {"fontsize": 8.5, "ha": "right", "va": "center", "linespacing": 1.5}
    sheet.text(name, left - 0.2, top + IMAGE / 2, **style)
    for end, start in zip(found, (left, left + strip + BETWEEN), strict=True):
        if end.name not in (PROPONENTS.partition(":")[0], OPPONENTS.partition(":")[0]):
            style = {"fontsize": 6.5, "color": SOFT, "va": "bottom"}
            sheet.text(f"{end.name.lower()}; {end.remark}", start, top - 0.02, **style)
        for place, neighbour in enumerate(end.neighbours):
            at = start + place * (IMAGE + GAP)
            _draw_neighbour(sheet, report, neighbour, text_of(neighbour.score), at, top)


def _draw_neighbour(
    sheet: Sheet, report: Report, neighbour: Neighbour, score: str, left: float, top: float
) -> None:
    sheet.image(report.train_images[neighbour.index], left, top, IMAGE)
    sheet.frame(neighbour.standing, left, top, IMAGE)
    style = {"fontsize": 7, "ha": "center"}
    middle, below = left + IMAGE / 2, top + IMAGE + 0.06
    sheet.text(score, middle, below, fontweight="bold", **style)
    caption = f"#{neighbour.index}\n{neighbour.label}"
    sheet.text(caption, middle, below + 0.12, color=SOFT, linespacing=1.3, **style)


def _draw_legend(sheet: Sheet, report: Report, top: float) -> None:
    left, side = MARGIN, 0.16
    for standing, meaning in legend(report).items():
        sheet.frame(standing, left, top, side)
        sheet.text(f"frame: {meaning}", left + 0.28, top + side / 2, fontsize=8, va="center")
        left += 0.9 + 0.075 * len(meaning)


def _blank(width: float, height: float) -> tuple[Any, Sheet]:
    """Return an empty figure and a sheet that covers it, without pyplot's global state."""
    with requires("a figure", "report"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, Sheet(axes)
