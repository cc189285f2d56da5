"""LDS against network passes a sample, noise of each sample's own beside shared noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.benchmarks.curve import NOISES, Point
from retrac_plugin.benchmarks.figures.style import INK, OTHER, colour, new_figure, save

STYLES = {"own": ("--", "o", "noise of its own"), "shared": ("-", "s", "shared noise")}


def draw_curve(points: Sequence[Point], path: Path) -> Path | None:
    """Draw a panel for each kind of query; None where there is nothing to draw."""
    known = [point for point in points if point.value is not None]
    kinds = list(dict.fromkeys(point.queries for point in known))
    if not kinds:
        return None
    figure, panels = new_figure(3.2 * len(kinds), 3.4, columns=len(kinds))
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
        axes.set_title(f"{kind} queries", fontsize=9, color=INK)
        axes.set_xlabel("passes a sample", fontsize=9, color=INK)
        axes.axhline(0, color=OTHER, linewidth=0.8)
    panels[0].set_ylabel("LDS", fontsize=9, color=INK)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(methods),
        fontsize=8,
        frameon=False,
    )
    return save(figure, path)
