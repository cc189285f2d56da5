"""Scores of every method on a task, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from retrac_plugin.attribution.checking import check_scores, check_self_influence
from retrac_plugin.attribution.keeping import NOTHING, Keeping
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.candidates import Candidate, Together, candidates
from retrac_plugin.benchmarks.keeping import Keeper
from retrac_plugin.benchmarks.outcome import (
    Outcome,
    Scored,
    all_queries,
    has_truth,
    outcome_of,
)
from retrac_plugin.benchmarks.stored import Stored
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.model.devices import usable_device, wait_for
from retrac_plugin.plugins import FAILURES, one_line
from retrac_plugin.resuming.parts import kept

Tell = Callable[[str], object]
"""Says what is going on."""

COST = "cost in the benchmark"
"""Under which kept scores say what they took."""


def score_methods(
    task: Task,
    methods: Iterable[str],
    tell: Tell,
    folder: Path | None = None,
    self_influence: bool = False,
    fresh: bool = False,
    stored: Stored | None = None,
) -> list[Outcome]:
    """Score every method; one that fails gives an outcome with its reason.

    Methods that can share gradients do. Hyper-parameters are chosen by the LDS of the queries that
    are held back for that.

    Args:
        task: The task.
        methods: Names of attributors.
        tell: Says what is going on.
        folder: Folder where each method's scores are kept as soon as they are known, and found by a
            run that goes on after another; their seconds are those of the run that computed them.
        self_influence: Whether to compute that too, of methods that offer it; its cost is not
            counted.
        fresh: Whether to compute anew what is found there, and keep that.
        stored: What scores methods on features from a store; their cost is not known then, and
            nothing else is kept of them.
    """
    failed: dict[str, str] = {}
    ready: list[Candidate] = []
    choose = any(has_truth(kind) and kind.held_back for kind in task.queries)
    for method in methods:
        try:
            ready += candidates(task, method, choose)
        except FAILURES as error:  # a third party's constructor may raise anything
            failed[method] = one_line(error)
    keeper = Keeper(task, folder, tell, fresh)
    queries = all_queries(task)
    parts = keeper.parts(queries)
    if parts is not None:
        parts.tell_of_them()
    own = partial(_self_influence, task, keeper, parts or NOTHING, tell) if self_influence else None
    scored: dict[str, list[Scored]] = {}
    work = _Work(task, queries, parts or NOTHING, stored)
    for one in _all_scored(work, ready, keeper, tell, failed):
        scored.setdefault(one.candidate.method, []).append(one)
    outcomes = [
        outcome_of(task, scored[name], own) if name in scored else Outcome(name, reason=reason)
        for name in methods
        if (reason := failed.get(name, "")) or name in scored
    ]
    if parts is not None:
        parts.remove()  # all scores are kept by now
    return outcomes


@dataclass(frozen=True, eq=False)
class _Work:
    """What candidates are scored on."""

    task: Task
    queries: Examples
    """Of all kinds."""
    keep: Keeping
    stored: Stored | None

    def store_of(self, candidate: Candidate) -> Stored | None:
        """Return the store that a candidate's scores come from, if they do."""
        stored = self.stored
        return stored if stored is not None and stored.answers(candidate.attributor) else None

    def together(self, candidate: Candidate) -> Together | None:
        """Return what scores a candidate with others of its kind, None if it scores alone."""
        return (self.store_of(candidate) or candidate).together


def _all_scored(
    work: _Work, ready: list[Candidate], keeper: Keeper, tell: Tell, failed: dict[str, str]
) -> Iterator[Scored]:
    """Yield what was kept, then what is scored now, and keep that."""
    lacking = []
    for candidate in ready:
        known = None if work.store_of(candidate) else keeper.find(candidate)
        if known is None:
            lacking.append(candidate)
        else:
            cost = known.about.pop(COST)
            yield Scored(candidate, known, cost["seconds"], cost["peak_bytes"])
    for group in _groups(work, lacking):
        tell(f"scoring {', '.join(dict.fromkeys(candidate.method for candidate in group))}")
        for one in _score(work, group, failed):
            cost = {"seconds": one.seconds, "peak_bytes": one.peak_bytes}
            if not work.store_of(one.candidate):
                told = {**one.scores.about, COST: cost}
                keeper.keep(one.candidate, replace(one.scores, about=told))
            yield one


def _groups(work: _Work, ready: Sequence[Candidate]) -> list[list[Candidate]]:
    shared: dict[Any, list[Candidate]] = {}
    for candidate in ready:
        shared.setdefault(work.together(candidate) or candidate, []).append(candidate)
    return list(shared.values())


def _score(work: _Work, group: list[Candidate], failed: dict[str, str]) -> Iterator[Scored]:
    """Yield the scores of a group; if one of it fails, of each method that is left on its own."""
    together, left = work.together(group[0]) or _one_by_one, list(group)
    known = work.store_of(group[0]) is None
    task, queries, keep = work.task, work.queries, work.keep
    train = len(ExampleSource(task.train, "train"))
    attributors = [kept(candidate.attributor, keep) for candidate in group]
    device = usable_device(task.device or next(task.model.network.parameters()).device)
    start, before = time.perf_counter(), keep.saved
    try:
        with PeakMemory(device) as peak:
            for scores in together(attributors, task.train, queries):
                checked = check_scores(scores, left[0].method, len(queries), train)
                wait_for(device)  # or these would be the seconds of asking for it
                earlier = keep.saved - before
                taken = time.perf_counter() - start + earlier
                seconds = checked.about.get("seconds", taken)
                # Of what an earlier call did, nobody knows any more what memory it took.
                candidate, peak_bytes = left.pop(0), None if earlier else peak.bytes
                yield Scored(candidate, checked, seconds if known else None, peak_bytes)
    except FAILURES as error:  # a third party's method may raise anything
        methods = list(dict.fromkeys(candidate.method for candidate in group))
        if len(methods) == 1:
            failed[methods[0]] = one_line(error)
            return
        for method in dict.fromkeys(candidate.method for candidate in left):
            yield from _score(work, [c for c in left if c.method == method], failed)


def _one_by_one(attributors: Sequence[Any], train: Examples, queries: Examples) -> Iterator[Scores]:
    for attributor in attributors:
        yield attributor.attribute(train, queries)


def _self_influence(
    task: Task, keeper: Keeper, keep: Keeping, tell: Tell, candidate: Candidate
) -> Tensor | None:
    """Return a method's self-influence, None if it offers none."""
    compute = getattr(kept(candidate.attributor, keep), "self_influence", None)
    if compute is None:
        return None
    known = keeper.find(candidate, "self-influence")
    if known is not None:
        return known.values[0]
    tell(f"self-influence by {candidate.method}")
    train = len(ExampleSource(task.train, "train"))
    try:
        found = check_self_influence(compute(task.train), candidate.method, train)
    except FAILURES as error:  # a third party's method may raise anything
        tell(f"self-influence by {candidate.method} failed: {one_line(error)}")
        return None
    keeper.keep(candidate, Scores(found[None]), "self-influence")
    return found
