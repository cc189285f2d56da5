"""Bootstrap intervals over queries, for any metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence

Metric = Callable[[Tensor, Evidence], float]

RESAMPLES = 200
LEVEL = 0.95


class Measured(NamedTuple):
    """A metric's value and the interval it lies in."""

    value: float
    low: float
    high: float


def measured(
    metric: Metric, values: Tensor, evidence: Evidence, seed: int = 0, resamples: int = RESAMPLES
) -> Measured:
    """Return a metric with its 95% bootstrap interval over queries.

    Queries are drawn with replacement. Drawing a query twice by itself makes top lists more alike,
    so the spread of the resampled values is centred on the value itself; for metrics that are means
    over queries that changes nothing on average.

    Args:
        metric: The metric.
        values: Scores ``[query, train]``.
        evidence: What it needs to know.
        seed: Of the resampling.
        resamples: How often.

    Raises:
        InputError: If the metric cannot be computed.
    """
    value = metric(values, evidence)
    resample = _resampling(metric, values, evidence, value)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (resamples, len(values)), generator=generator)
    found = torch.tensor([resample(rows) for rows in drawn], dtype=torch.float64)
    if not math.isfinite(value) or not found.isfinite().all():
        return Measured(value, math.nan, math.nan)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = (value + found.quantile(tails) - found.mean()).tolist()
    return Measured(value, low, high)


def _resampling(
    metric: Metric, values: Tensor, evidence: Evidence, value: float
) -> Callable[[Tensor], float]:
    """Return the metric of given rows; a mean over queries needs each query's part only once."""

    def of_rows(rows: Tensor) -> float:
        return metric(values[rows], evidence.of_queries(rows))

    try:
        parts = torch.tensor([of_rows(torch.tensor([q])) for q in range(len(values))]).double()
    except InputError:  # it compares queries with one another
        return of_rows
    if not math.isclose(parts.mean().item(), value, rel_tol=1e-6, abs_tol=1e-9):
        return of_rows
    return lambda rows: parts[rows].mean().item()
