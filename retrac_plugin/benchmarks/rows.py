"""The result of a benchmark, one row for each method, kind of query and metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.benchmarks.interval import Measured, measured
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.errors import InputError, RetracError
from retrac_plugin.hookspecs import MetricEntry
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.lds import lds, one_retraining
from retrac_plugin.metrics.numeric import numeric
from retrac_plugin.plugins import FAILURES, one_line
from retrac_plugin.progress import bar

CEILING, ATTAINABLE, CONSTANT = "(one retraining)", "(best possible)", "(constant scores)"
"""Rows that are no method's: see ``control_rows``."""

NORMS_FROM = "diffusion-tracin"
"""Whose gradient norms norm bias is measured by: those of the training visits."""


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        method: The method, or a control in parentheses.
        queries: The kind of query.
        metric: The metric.
        value: Its value, None if there is none.
        low: Lower end of its 95% interval over queries.
        high: Upper end.
        higher_is_better: The metric's direction.
        seconds: See ``Outcome``.
        passes: See ``Outcome``.
        peak_mib: See ``Outcome``.
        options: Hyper-parameters that were chosen on queries held back.
        reason: Why there is no value.
    """

    method: str
    queries: str
    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    higher_is_better: bool | None = None
    seconds: float | None = None
    passes: int | None = None
    peak_mib: float | None = None
    options: Mapping[str, Any] | None = None
    reason: str = ""


def reasons_of(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return why values are missing, and what is: ``"method by metric"``."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(f"{row.method} by {row.metric}")
    return reasons


def measure(
    task: Task, outcomes: Sequence[Outcome], metrics: Iterable[MetricEntry], seed: int = 0
) -> list[Row]:
    """Measure every outcome by every metric, on the queries that are not held back.

    A metric that the queries lack evidence for, or that fails, gives rows with the reason. A
    progress bar is shown on a terminal.
    """
    norms = visit_norms(outcomes)
    rows: list[Row] = []
    reported = [
        (kind, kind.evidence.of_queries(torch.arange(kind.held_back, len(kind.examples))))
        for kind in task.queries
    ]
    wanted = list(product(reported, metrics))
    total = len(wanted) * len(outcomes)
    with bar(total, "measuring", "row", leave=True) as progress:
        for (kind, evidence), entry in wanted:
            for outcome in outcomes:
                own = norms if norms is not None else _own_norms(outcome, kind)
                known = replace(evidence, gradient_norms=own, self_influence=outcome.self_influence)
                rows.append(_row(outcome, kind, entry, known, seed))
                progress.update()
            if entry.name == "lds":
                rows.extend(control_rows(kind.name, evidence, seed))
    return rows


def control_rows(queries: str, evidence: Evidence, seed: int = 0) -> Iterator[Row]:
    """Yield what LDS is to be read beside; nothing where models were not retrained twice.

    One retraining: the correlation ``r`` of one retraining with the mean of the others. Best
    possible: the square root of the mean losses' reliability ``n r / (1 + (n - 1) r)`` with ``n``
    the harmonic mean of the subsets' numbers of seeds (Spearman and Brown, 1910), what a method
    would get that knew the expected losses: an estimate, made for two seeds and linear correlation.
    Constant scores: no method at all.
    """
    losses = evidence.subset_losses
    if losses is None:
        return
    try:
        parts = one_retraining(evidence)
    except InputError:
        parts = None
    if parts is not None:
        found = measured(lambda values, known: values.mean().item(), parts[:, None], Evidence())
        yield _plain(CEILING, queries, found)
        seeds_each = losses.isfinite().all(2).sum(0).double()
        seeds = (1 / (1 / seeds_each).mean()).item()
        yield _plain(ATTAINABLE, queries, Measured(*(_attainable(r, seeds) for r in found)))
    train = evidence.required("subsets", "for the constant control", (None, None)).shape[1]
    constant = torch.ones(losses.shape[-1], train)
    yield _plain(CONSTANT, queries, measured(lds, constant, evidence, seed))


def _attainable(correlation: float, seeds: float) -> float:
    correlation = max(correlation, 0.0)
    return float((seeds * correlation / (1 + (seeds - 1) * correlation)) ** 0.5)


def _plain(name: str, queries: str, found: Measured) -> Row:
    return Row(name, queries, "lds", *found, higher_is_better=True)


def _row(outcome: Outcome, kind: Queries, entry: MetricEntry, evidence: Evidence, seed: int) -> Row:
    row = Row(
        outcome.method,
        kind.name,
        entry.name,
        higher_is_better=entry.higher_is_better,
        seconds=outcome.seconds,
        passes=outcome.passes,
        peak_mib=None if outcome.peak_bytes is None else round(outcome.peak_bytes / 2**20, 1),
        options=dict(outcome.options),
    )
    if outcome.reason:
        return replace(row, reason=outcome.reason)
    values = outcome.scores[kind.name].values[kind.held_back :].detach().cpu()
    try:
        found = measured(numeric(entry.load()), values, evidence, seed)
    except RetracError as error:
        return replace(row, reason=str(error))
    except FAILURES as error:  # a third party's metric may raise anything
        return replace(row, reason=one_line(error))
    value, low, high = (number if math.isfinite(number) else None for number in found)
    return replace(row, value=value, low=low, high=high)


def visit_norms(outcomes: Sequence[Outcome]) -> Tensor | None:
    """Return the norms of the training visits' gradients, where they were computed."""
    for outcome in outcomes:
        if outcome.method == NORMS_FROM and outcome.scores:
            return next(iter(outcome.scores.values())).gradient_norms
    return None


def _own_norms(outcome: Outcome, kind: Queries) -> Tensor | None:
    return outcome.scores[kind.name].gradient_norms if outcome.scores else None
