"""Scores of every method on a task, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.candidates import Candidate, candidates
from retrac_plugin.benchmarks.keeping import Keeper
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.metrics.lds import lds

Tell = Callable[[str], object]
"""Says what is going on."""

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
        seconds: What it would have taken alone, the choice included.
        passes: Samples led forward and backward through the network; None where unknown.
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


COST = "cost in the benchmark"
"""Under which kept scores say what they took."""


@dataclass(frozen=True, eq=False)
class _Scored:
    candidate: Candidate
    scores: Scores
    seconds: float
    peak_bytes: int | None


def score_methods(
    task: Task,
    methods: Iterable[str],
    tell: Tell,
    kept: Path | None = None,
    self_influence: bool = False,
    fresh: bool = False,
) -> list[Outcome]:
    """Score every method; one that fails gives an outcome with its reason.

    Methods that can share gradients do. Hyper-parameters are chosen by the LDS of the queries that
    are held back for that.

    Args:
        task: The task.
        methods: Names of attributors.
        tell: Says what is going on.
        kept: Folder where each method's scores are kept as soon as they are known, and found by a
            run that goes on after another; their seconds are those of the run that computed them.
        self_influence: Whether to compute that too, of methods that offer it; its cost is not
            counted.
        fresh: Whether to compute anew what is found there, and keep that.
    """
    failed: dict[str, str] = {}
    ready: list[Candidate] = []
    choose = any(_has_truth(kind) and kind.held_back for kind in task.queries)
    for method in methods:
        try:
            ready += candidates(task, method, choose)
        except Exception as error:  # a third party's constructor may raise anything
            failed[method] = _one_line(error)
    keeper = Keeper(task, kept, tell, fresh)
    own = partial(_self_influence, task, keeper, tell) if self_influence else None
    scored: dict[str, list[_Scored]] = {}
    for one in _all_scored(task, ready, keeper, tell, failed):
        scored.setdefault(one.candidate.method, []).append(one)
    return [
        _outcome(task, scored[method], own) if method in scored else Outcome(method, reason=reason)
        for method in methods
        if (reason := failed.get(method, "")) or method in scored
    ]


def _all_scored(
    task: Task, ready: list[Candidate], keeper: Keeper, tell: Tell, failed: dict[str, str]
) -> Iterator[_Scored]:
    """Yield what was kept, then what is scored now, and keep that."""
    lacking = []
    for candidate in ready:
        known = keeper.find(candidate)
        if known is None:
            lacking.append(candidate)
        else:
            cost = known.about.pop(COST)
            yield _Scored(candidate, known, cost["seconds"], cost["peak_bytes"])
    for group in _groups(lacking):
        tell(f"scoring {', '.join(dict.fromkeys(candidate.method for candidate in group))}")
        for one in _score(task, group, failed):
            cost = {"seconds": one.seconds, "peak_bytes": one.peak_bytes}
            keeper.keep(one.candidate, replace(one.scores, about={**one.scores.about, COST: cost}))
            yield one


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


def _groups(ready: Sequence[Candidate]) -> list[list[Candidate]]:
    shared: dict[Any, list[Candidate]] = {}
    for candidate in ready:
        shared.setdefault(candidate.together or candidate, []).append(candidate)
    return list(shared.values())


def _score(task: Task, group: list[Candidate], failed: dict[str, str]) -> Iterator[_Scored]:
    """Yield the scores of a group; if one of it fails, of each method that is left on its own."""
    together, left = group[0].together or _one_by_one, list(group)
    attributors = [candidate.attributor for candidate in group]
    start = time.perf_counter()
    try:
        with PeakMemory() as peak:
            for scores in together(attributors, task.train, all_queries(task)):
                seconds = scores.about.get("seconds", time.perf_counter() - start)
                yield _Scored(left.pop(0), scores, seconds, peak.bytes)
    except Exception as error:  # a third party's method may raise anything
        methods = list(dict.fromkeys(candidate.method for candidate in group))
        if len(methods) == 1:
            failed[methods[0]] = _one_line(error)
            return
        for method in dict.fromkeys(candidate.method for candidate in left):
            yield from _score(task, [c for c in left if c.method == method], failed)


def _one_by_one(attributors: Sequence[Any], train: Examples, queries: Examples) -> Iterator[Scores]:
    for attributor in attributors:
        yield attributor.attribute(train, queries)


def _self_influence(task: Task, keeper: Keeper, tell: Tell, candidate: Candidate) -> Tensor | None:
    """Return a method's self-influence, None if it offers none."""
    compute = getattr(candidate.attributor, "self_influence", None)
    if compute is None:
        return None
    known = keeper.find(candidate, "self-influence")
    if known is not None:
        return known.values[0]
    tell(f"self-influence by {candidate.method}")
    found: Tensor = compute(task.train)
    keeper.keep(candidate, Scores(found[None]), "self-influence")
    return found


def _outcome(task: Task, scored: list[_Scored], own: Own | None) -> Outcome:
    best = scored[0] if len(scored) == 1 else max(scored, key=lambda one: _quality(task, one))
    others = (one.scores.about.get("scoring_seconds", 0.0) for one in scored if one is not best)
    return Outcome(
        best.candidate.method,
        {
            name: Scores(best.scores.values[rows], best.scores.gradient_norms, best.scores.about)
            for name, rows in rows_of(task).items()
        },
        options=best.candidate.options,
        seconds=best.seconds + sum(others),
        passes=_passes(task, best),
        peak_bytes=best.peak_bytes,
        self_influence=None if own is None else own(best.candidate),
    )


def _quality(task: Task, scored: _Scored) -> float:
    """Return the mean LDS of the queries that are held back."""
    found = []
    for kind in task.queries:
        if kind.held_back and _has_truth(kind):
            start = rows_of(task)[kind.name].start
            values = scored.scores.values[start : start + kind.held_back]
            known = kind.evidence.of_queries(torch.arange(kind.held_back))
            found.append(lds(values, known))
    return fmean(found)


def _has_truth(kind: Queries) -> bool:
    return kind.evidence.subset_losses is not None


def _passes(task: Task, scored: _Scored) -> int | None:
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


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
