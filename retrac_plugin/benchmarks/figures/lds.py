"""LDS of every method, with its interval and the noise ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrac_plugin.benchmarks.rows import ATTAINABLE, CEILING, Row
from retrac_plugin.report.figures.style import (
    INK,
    SOFT,
    colour,
    label,
    legend_below,
    new_figure,
)

LINES = {CEILING: "--", ATTAINABLE: ":"}
"""Stroke of the controls that are drawn as vertical lines."""


def lds_with_controls(rows: Sequence[Row]) -> Any | None:
    """Return the figure of LDS: a panel a kind of query, a line a method with its interval.

    Vertical lines are controls: how well one retraining predicts another, and the best possible.

    Args:
        rows: Of a benchmark, such as ``rows.json`` holds.

    Returns:
        A matplotlib figure; None where LDS was not measured.
    """
    found = [row for row in rows if row.metric == "lds" and row.value is not None]
    kinds = list(dict.fromkeys(row.queries for row in found))
    if not kinds:
        return None
    first = [row for row in found if row.queries == kinds[0] and not row.method.startswith("(")]
    order = [row.method for row in sorted(first, key=lambda row: row.value or 0.0)]
    figure, panels = new_figure(1.1 + 0.15 * len(order), len(kinds))
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, [row for row in found if row.queries == kind], order)
        label(axes, x="LDS, mean over queries", title=f"{kind} queries")
        axes.set_yticks(range(len(order)), order if axes is panels[0] else [""] * len(order))
    legend_below(figure, panels[0], 1)
    return figure


def _panel(axes: Any, rows: Sequence[Row], order: Sequence[str]) -> None:
    axes.axvline(0, color=SOFT, linewidth=0.8)
    by_method = {row.method: row for row in rows}
    for position, method in enumerate(order):
        row = by_method.get(method)
        if row is None or row.value is None:
            continue
        style = {"color": colour(method), "linewidth": 1.3}
        if row.low is not None:
            axes.plot((row.low, row.high), (position, position), **style)
        axes.plot(row.value, position, "o", markersize=4, color=colour(method))
    for control, stroke in LINES.items():
        if control in by_method:
            more = ": noise ceiling" if control == CEILING else ""
            named = control.strip("()") + more
            value = by_method[control].value
            axes.axvline(value, color=INK, linestyle=stroke, linewidth=1.1, label=named)
