"""What came of one method: its scores by kind of query, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.candidates import Candidate
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.metrics.lds import lds

Own = Callable[[Candidate], Tensor | None]
"""Self-influence of a method."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one method.

    Attributes:
        method: Its registered name.
        scores: ``[query, train]`` by kind of query, of all queries; empty if it failed.
        reason: Why it failed.
        options: Hyper-parameters that were chosen.
        seconds: What it would have taken alone, the choice included; None where a store knew part
            of it.
        passes: Samples led through the network, forward alone those of a method that takes no
            gradient; None where unknown.
        peak_bytes: The process's peak memory while it, and what shares with it, was computed.
        self_influence: ``[train]``, where it was asked for and the method knows it.
    """

    method: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    passes: int | None = None
    peak_bytes: int | None = None
    self_influence: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """What came of one candidate."""

    candidate: Candidate
    scores: Scores
    seconds: float | None
    peak_bytes: int | None


def all_queries(task: Task) -> Examples:
    """Return the queries of all kinds, one after the other."""
    return [query for kind in task.queries for query in kind.examples]


def rows_of(task: Task) -> dict[str, slice]:
    """Return where the queries of each kind lie among ``all_queries``."""
    slices, start = {}, 0
    for kind in task.queries:
        slices[kind.name] = slice(start, start + len(kind.examples))
        start += len(kind.examples)
    return slices


def outcome_of(task: Task, scored: list[Scored], own: Own | None) -> Outcome:
    """Return the outcome of a method: of that candidate which does best on queries held back."""
    best = scored[0] if len(scored) == 1 else max(scored, key=lambda one: _quality(task, one))
    others = (one.scores.about.get("scoring_seconds", 0.0) for one in scored if one is not best)
    return Outcome(
        best.candidate.method,
        {
            name: Scores(best.scores.values[rows], best.scores.gradient_norms, best.scores.about)
            for name, rows in rows_of(task).items()
        },
        options=best.candidate.options,
        seconds=None if best.seconds is None else best.seconds + sum(others),
        passes=_passes(task, best),
        peak_bytes=best.peak_bytes,
        self_influence=None if own is None else own(best.candidate),
    )


def _quality(task: Task, scored: Scored) -> float:
    """Return the mean LDS of the queries that are held back."""
    found = []
    for kind in task.queries:
        if kind.held_back and has_truth(kind):
            start = rows_of(task)[kind.name].start
            values = scored.scores.values[start : start + kind.held_back]
            known = kind.evidence.of_queries(torch.arange(kind.held_back))
            found.append(lds(values, known))
    return fmean(found)


def has_truth(kind: Queries) -> bool:
    """Whether it is known what retraining made of these queries."""
    return kind.evidence.subset_losses is not None


def _passes(task: Task, scored: Scored) -> int | None:
    known: int | None = scored.scores.about.get("passes")
    if known is not None or not isinstance(scored.candidate.attributor, DiffusionAttributor):
        return known
    sides = (
        (ExampleSource(task.train, "train"), task.train_draws),
        (ExampleSource(all_queries(task), "queries"), task.query_draws),
    )
    each = (len(source) * _product(*draws.per_sample()) for source, draws in sides)
    return len(task.checkpoints) * sum(each)


def _product(timesteps_each: int, noise_each: int) -> int:
    return timesteps_each * noise_each
