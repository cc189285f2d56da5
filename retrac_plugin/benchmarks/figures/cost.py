"""Quality against cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from retrac_plugin.benchmarks.figures.style import INK, SOFT, colour, new_figure, save
from retrac_plugin.benchmarks.rows import Row

FEWEST_SECONDS = 0.01
"""Where what takes less is drawn, since the axis is logarithmic."""

LINE = 0.033
"""Least distance between two labels, as a share of the axis."""


def draw_cost(rows: Sequence[Row], path: Path) -> Path | None:
    """Draw LDS against seconds for the first kind of query; None where it was not measured."""
    found = [row for row in rows if row.metric == "lds" and row.seconds is not None]
    found = [row for row in found if row.queries == found[0].queries and row.value is not None]
    if not found:
        return None
    figure, (axes,) = new_figure(7.2, 5.2)
    axes.set_xscale("log")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    values = [row.value or 0.0 for row in found]
    heights = _apart(values, LINE * (max(values) - min(values)))
    for row, value, height in zip(found, values, heights, strict=True):
        seconds = max(row.seconds or 0.0, FEWEST_SECONDS)
        axes.plot(seconds, value, "o", color=colour(row.method), markersize=6)
        axes.annotate(
            row.method,
            (seconds, value),
            xytext=(1.02, height),
            textcoords=("axes fraction", "data"),
            arrowprops={
                "arrowstyle": "-",
                "color": colour(row.method),
                "linewidth": 0.6,
                "relpos": (0, 0.5),
            },
            fontsize=8,
            va="center",
            color=INK,
        )
    axes.set_xlabel("seconds, as if used alone", fontsize=9, color=INK)
    axes.set_ylabel(f"LDS, {found[0].queries} queries", fontsize=9, color=INK)
    return save(figure, path)


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Return heights near the values, in their order, none nearer to the next than ``distance``."""
    order = sorted(range(len(values)), key=values.__getitem__)
    heights = list(values)
    for below, here in pairwise(order):
        heights[here] = max(heights[here], heights[below] + distance)
    overshoot = (heights[order[-1]] - values[order[-1]]) / 2
    return [height - overshoot for height in heights]
