"""Bootstrap intervals over queries, for any metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.metrics import Evidence
from retrac_plugin.plugins import FAILURES

Metric = Callable[[Tensor, Evidence], float]

RESAMPLES, RECOMPUTED = 1000, 100
"""How often queries are resampled: for means over queries, and for what is computed anew."""

LEVEL = 0.95


class Measured(NamedTuple):
    """A metric's value and the interval it lies in."""

    value: float
    low: float
    high: float


def measured(metric: Metric, values: Tensor, evidence: Evidence, seed: int = 0) -> Measured:
    """Return a metric with its 95% bootstrap interval over queries.

    Queries are drawn with replacement. Drawing a query twice by itself makes top lists more alike,
    so the spread of the resampled values is centred on the value itself; for metrics that are means
    over queries that changes nothing on average.

    Args:
        metric: The metric.
        values: Scores ``[query, train]``.
        evidence: What it needs to know.
        seed: Of the resampling.

    Raises:
        Exception: Whatever the metric raises of these scores; of what is resampled from them,
            that leaves the value without an interval.
    """
    value = metric(values.clone(), evidence)  # a metric may change what it is given
    parts = _parts(metric, values, evidence, value)
    generator = torch.Generator().manual_seed(seed)
    count = RECOMPUTED if parts is None else RESAMPLES
    drawn = torch.randint(len(values), (count, len(values)), generator=generator)
    try:
        found = (
            _computed_anew(metric, values, evidence, drawn)
            if parts is None
            else parts[drawn].mean(1)
        )
    except FAILURES:
        return Measured(value, math.nan, math.nan)
    if not math.isfinite(value) or not found.isfinite().all():
        return Measured(value, math.nan, math.nan)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = (value + found.quantile(tails) - found.mean()).tolist()
    return Measured(value, low, high)


def _computed_anew(metric: Metric, values: Tensor, evidence: Evidence, drawn: Tensor) -> Tensor:
    """Return the metric of each set of queries drawn, ``[set]``."""
    anew = [metric(values[rows], evidence.of_queries(rows)) for rows in drawn]
    return torch.tensor(anew, dtype=torch.float64)


def _parts(metric: Metric, values: Tensor, evidence: Evidence, value: float) -> Tensor | None:
    """Return each query's part of a mean over queries, None if the metric is no such mean."""
    queries = torch.arange(len(values))
    halves = queries[: len(values) // 2], queries[len(values) // 2 :]
    try:
        if not _add_up(metric, values, evidence, value, [half for half in halves if len(half)]):
            return None  # found out by two calls instead of one for each query
        found = torch.tensor(
            [metric(values[rows], evidence.of_queries(rows)) for rows in queries[:, None]],
            dtype=torch.float64,
        )
    except FAILURES:  # it compares queries with one another
        return None
    return found if _alike(found.mean().item(), value) else None


def _add_up(
    metric: Metric, values: Tensor, evidence: Evidence, value: float, parts: list[Tensor]
) -> bool:
    """Whether the metric is the mean of what it is on some of the queries each."""
    total = sum(metric(values[rows], evidence.of_queries(rows)) * len(rows) for rows in parts)
    return _alike(total / len(values), value)


def _alike(found: float, value: float) -> bool:
    return math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9)
