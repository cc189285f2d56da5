"""LDS of every method, with its interval and the noise ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrac_plugin.benchmarks.figures.style import INK, SOFT, colour, new_figure, save
from retrac_plugin.benchmarks.rows import ATTAINABLE, CEILING, Row

LINES = {CEILING: "--", ATTAINABLE: ":"}
"""Stroke of the controls that are drawn as vertical lines."""


def draw_lds(rows: Sequence[Row], path: Path) -> Path | None:
    """Draw one panel a kind of query; None where LDS was not measured."""
    found = [row for row in rows if row.metric == "lds" and row.value is not None]
    kinds = list(dict.fromkeys(row.queries for row in found))
    if not kinds:
        return None
    first = [row for row in found if row.queries == kinds[0] and not row.method.startswith("(")]
    order = [row.method for row in sorted(first, key=lambda row: row.value or 0.0)]
    figure, panels = new_figure(2.2 + 2.9 * len(kinds), 1.5 + 0.22 * len(order), len(kinds))
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, [row for row in found if row.queries == kind], order)
        axes.set_title(f"{kind} queries", fontsize=10, color=INK)
        axes.set_xlabel("LDS, mean over queries", fontsize=9, color=INK)
        axes.set_yticks(range(len(order)), order if axes is panels[0] else [""] * len(order))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save(figure, path)


def _panel(axes: Any, rows: Sequence[Row], order: Sequence[str]) -> None:
    axes.axvline(0, color=SOFT, linewidth=0.8)
    by_method = {row.method: row for row in rows}
    for position, method in enumerate(order):
        row = by_method.get(method)
        if row is None or row.value is None:
            continue
        style = {"color": colour(method), "linewidth": 1.6}
        if row.low is not None:
            axes.plot((row.low, row.high), (position, position), **style)
        axes.plot(row.value, position, "o", markersize=4.5, color=colour(method))
    for control, stroke in LINES.items():
        if control in by_method:
            label = f"{control.strip('()')}: noise ceiling" if control == CEILING else control
            value = by_method[control].value
            axes.axvline(value, color=INK, linestyle=stroke, linewidth=1.1, label=label.strip("()"))
