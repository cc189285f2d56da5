"""Norm bias: is a training sample influential because its gradient is large?

The norm of a sample is the plain mean over checkpoints of its gradient norms. Source: the diagnosis
of Xie et al. (TMLR 2024): the timestep decides the norm, and the norm decides the influence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.extras import requires
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked


def norm_bias(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation of the norms with the influence, mean over queries.

    Args:
        values: Scores ``[query, train]``, with their sign.
        evidence: ``gradient_norms``.

    Returns:
        Between -1 and 1; NaN where ranks say nothing: the norms, or one query's scores, all equal.

    Raises:
        InputError: If the norms are missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    return _mean_correlation(checked(values), evidence)


def norm_bias_of_size(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation of the norms with the influence's absolute value.

    A large gradient makes proponents of some queries and opponents of others, which can cancel in
    ``norm_bias``; it cannot here. Otherwise the same.

    Raises:
        InputError: If the norms are missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    return _mean_correlation(checked(values).abs(), evidence)


def _mean_correlation(influence: Tensor, evidence: Evidence) -> float:
    why = "to correlate gradient norm and influence"
    per_checkpoint = evidence.required("gradient_norms", why, (None, influence.shape[1]))
    norms = per_checkpoint.double().mean(dim=0)
    if _constant(norms) or any(_constant(row) for row in influence):
        return float("nan")
    spearman = _spearman()
    return float(sum(spearman(norms, row).statistic for row in influence) / len(influence))


def _constant(values: Tensor) -> bool:
    return torch.equal(values, values[:1].expand_as(values))


def _spearman() -> Callable[[Tensor, Tensor], Any]:
    with requires("a rank correlation", "metrics"):
        from scipy.stats import spearmanr
    return spearmanr  # type: ignore[no-any-return]
