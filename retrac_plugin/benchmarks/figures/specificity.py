"""Specificity at every length of the top lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.specificity import specificity
from retrac_plugin.report.figures.style import (
    COLOURS,
    INK,
    NORMAL,
    OTHER,
    colour,
    label,
    legend_below,
    new_figure,
)

LENGTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)


def specificity_by_length(task: Task, outcomes: Sequence[Outcome]) -> Any | None:
    """Return the figure, a panel a kind of query; None where no method followed has scores."""
    by_method = {outcome.method: outcome for outcome in outcomes if outcome.scores}
    followed = [by_method[name] for name in COLOURS if name in by_method]
    if not followed:
        return None
    figure, panels = new_figure(2.8, len(task.queries))
    for axes, kind in zip(panels, task.queries, strict=True):
        curves = {o.method: o.scores[kind.name].values[kind.held_back :] for o in followed}
        _panel(axes, curves)
        label(axes, x="K", title=f"{kind.name} queries")
    panels[0].set_ylabel("different images in all top K", fontsize=NORMAL, color=INK)
    legend_below(figure, panels[0], 2 * len(panels))
    return figure


def _panel(axes: Any, curves: dict[str, Tensor]) -> None:
    queries, train = next(iter(curves.values())).shape
    lengths = [k for k in LENGTHS if k <= train]
    most = [min(1.0, train / (queries * k)) for k in lengths]
    axes.plot(lengths, most, color=OTHER, linestyle=":", label="most there can be")
    for method, values in curves.items():
        shares = [specificity(values, Evidence(), k) for k in lengths]
        stroke = "--" if method == "random" else "-"
        axes.plot(lengths, shares, stroke, color=colour(method), linewidth=1.5, label=method)
    axes.set(xscale="log", ylim=(0, 1.03))
    axes.set_xticks((1, 10, 100), ("1", "10", "100"))
