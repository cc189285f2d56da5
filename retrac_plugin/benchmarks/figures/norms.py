"""Influence against the norm of the training gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import NORMS_FROM, visit_norms
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.report.figures.norms import influence_against_norm

SHOWN = (NORMS_FROM, "diffusion-retrac")


def influence_of_norms(task: Task, outcomes: Sequence[Outcome]) -> Any | None:
    """Return the figure for the first queries; None unless both our methods have scores."""
    by_method = {o.method: o for o in outcomes if o.scores}
    norms = visit_norms(outcomes)
    if norms is None or not all(method in by_method for method in SHOWN):
        return None
    kind = task.queries[0]
    scores = {name: by_method[name].scores[kind.name].values[kind.held_back :] for name in SHOWN}
    return influence_against_norm(scores, norms)
