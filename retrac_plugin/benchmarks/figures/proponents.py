"""Proponents and opponents side by side, a row a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.report import Method, Report
from retrac_plugin.report.figures.grid import proponent_grid
from retrac_plugin.report.figures.style import COLOURS, are_pictures

MOST_QUERIES = 3
SKIPPED = "random"


def proponents_by_method(task: Task, outcomes: Sequence[Outcome]) -> Any | None:
    """Return the figure of the first reported queries; None if they are no pictures.

    Of the second kind if there is one.
    """
    by_method = {outcome.method: outcome for outcome in outcomes if outcome.scores}
    followed = [by_method[name] for name in COLOURS if name in by_method and name != SKIPPED]
    kind = task.queries[min(1, len(task.queries) - 1)]
    if not (followed and are_pictures(kind.examples) and are_pictures(task.train)):
        return None
    shown = slice(kind.held_back, kind.held_back + MOST_QUERIES)
    labels = kind.evidence.train_labels, kind.evidence.query_labels
    report = Report(
        title=task.name,
        lead="",
        train_images=task.train,
        query_images=kind.examples[shown],
        methods=[Method(o.method, _rows(o, kind, shown)) for o in followed],
        train_labels=_names(labels[0]),
        query_labels=_names(None if labels[1] is None else labels[1][shown]),
        train_is_minority=kind.evidence.train_is_minority,
    )
    return proponent_grid(report)


def _rows(outcome: Outcome, kind: Queries, shown: slice) -> Scores:
    return Scores(outcome.scores[kind.name].values[shown])


def _names(labels: Tensor | None) -> list[str]:
    return [] if labels is None else [str(label) for label in labels.tolist()]
