"""Influence against the norm of the training gradient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from retrac_plugin.benchmarks.figures.style import INK, colour, new_figure, plain_log_ticks, save
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import NORMS_FROM, visit_norms
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.metrics.correlation import spearman_rows

SHOWN = (NORMS_FROM, "diffusion-retrac")


def draw_norms(task: Task, outcomes: Sequence[Outcome], path: Path) -> Path | None:
    """Draw the size of influence against the norm; None unless both our methods have scores."""
    by_method = {o.method: o for o in outcomes if o.scores}
    norms = visit_norms(outcomes)
    if norms is None or not all(method in by_method for method in SHOWN):
        return None
    kind = task.queries[0]
    figure, panels = new_figure(7.4, 3.7, len(SHOWN))
    for axes, method in zip(panels, SHOWN, strict=True):
        values = by_method[method].scores[kind.name].values[kind.held_back :].cpu().double()
        _panel(axes, norms.cpu().double().mean(0), values.abs().mean(0), method)
    panels[0].set_ylabel(f"mean |influence| on {kind.name} queries", fontsize=9, color=INK)
    return save(figure, path)


def _panel(axes: Any, norms: Tensor, sizes: Tensor, method: str) -> None:
    correlation = spearman_rows(norms[None], sizes[None]).item()
    axes.loglog(norms, sizes, ".", color=colour(method), markersize=4, alpha=0.6)
    plain_log_ticks(axes)
    axes.set_title(f"{method}: rank correlation {correlation:.2f}", fontsize=10, color=INK)
    axes.set_xlabel("norm of the training gradient", fontsize=9, color=INK)
