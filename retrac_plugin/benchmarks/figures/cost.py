"""Quality against cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.report.figures.style import INK, SMALL, SOFT, colour, label, new_figure

FEWEST_SECONDS = 0.01
"""Where what takes less is drawn, since the axis is logarithmic."""

LINE = 0.13
"""Least distance between two labels, in inches."""


def cost_against_quality(rows: Sequence[Row]) -> Any | None:
    """Return the figure of LDS against seconds, for the first kind of query.

    Args:
        rows: Of a benchmark, such as ``rows.json`` holds.

    Returns:
        A matplotlib figure; None where LDS or cost was not measured.
    """
    found = [row for row in rows if row.metric == "lds" and row.seconds is not None]
    found = [row for row in found if row.queries == found[0].queries and row.value is not None]
    if not found:
        return None
    figure, (axes,) = new_figure(max(2.4, LINE * len(found) + 0.6))
    axes.set_xscale("log")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    values = [row.value or 0.0 for row in found]
    share = LINE / (figure.get_figheight() - 0.6)
    heights = _apart(values, share * (max(values) - min(values)))
    for row, value, height in zip(found, values, heights, strict=True):
        seconds = max(row.seconds or 0.0, FEWEST_SECONDS)
        axes.plot(seconds, value, "o", color=colour(row.method), markersize=4)
        axes.annotate(
            row.method,
            (seconds, value),
            xytext=(1.02, height),
            textcoords=("axes fraction", "data"),
            arrowprops={
                "arrowstyle": "-",
                "color": colour(row.method),
                "linewidth": 0.5,
                "relpos": (0, 0.5),
            },
            fontsize=SMALL,
            va="center",
            color=INK,
        )
    label(axes, x="seconds, as if used alone", y=f"LDS, {found[0].queries} queries")
    return figure


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Return heights near the values, in their order, none nearer to the next than ``distance``."""
    order = sorted(range(len(values)), key=values.__getitem__)
    heights = list(values)
    for below, here in pairwise(order):
        heights[here] = max(heights[here], heights[below] + distance)
    overshoot = (heights[order[-1]] - values[order[-1]]) / 2
    return [height - overshoot for height in heights]
