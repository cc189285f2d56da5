"""LDS against network passes a sample, noise of each sample's own beside shared noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrac_plugin.benchmarks.curve import NOISES, Point
from retrac_plugin.report.figures.style import (
    INK,
    NORMAL,
    OTHER,
    colour,
    label,
    legend_below,
    new_figure,
)

STYLES = {"own": ("--", "o", "noise of its own"), "shared": ("-", "s", "shared noise")}


def lds_by_passes(points: Sequence[Point]) -> Any | None:
    """Return the figure, a panel for each kind of query; None where there is nothing to draw."""
    known = [point for point in points if point.value is not None]
    kinds = list(dict.fromkeys(point.queries for point in known))
    if not kinds:
        return None
    figure, panels = new_figure(2.6, len(kinds))
    methods = list(dict.fromkeys(point.method for point in known))
    for axes, kind in zip(panels, kinds, strict=True):
        for method in methods:
            for noise in NOISES:
                own = [p for p in known if (p.queries, p.method, p.noise) == (kind, method, noise)]
                line, marker, _ = STYLES[noise]
                axes.plot(
                    [p.passes_each for p in own],
                    [p.value for p in own],
                    line,
                    marker=marker,
                    color=colour(method),
                    markersize=4,
                    label=f"{method}, {STYLES[noise][2]}",
                )
        axes.set_xscale("log")
        axes.set_xticks(sorted({p.passes_each for p in known}))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter("{x:g}")
        label(axes, x="passes a sample", title=f"{kind} queries")
        axes.axhline(0, color=OTHER, linewidth=0.8)
    panels[0].set_ylabel("LDS", fontsize=NORMAL, color=INK)
    legend_below(figure, panels[0], len(kinds))
    return figure
