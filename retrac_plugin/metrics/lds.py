"""The linear datamodelling score: do summed scores predict what training on a subset does?

Source: Park et al., TRAK, ICML 2023; for diffusion models Zheng et al., ICLR 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked

_WHY = "to compare scores with retraining"


def lds(values: Tensor, evidence: Evidence) -> float:
    """Return the mean over queries of Spearman's correlation over subsets.

    Correlated are ``sum_{i in S_m} tau(q, i)`` and minus the query's loss after training on ``S_m``
    alone, the mean over retraining seeds.

    Args:
        values: Scores ``[query, train]``; all equal, they get 0 where all subsets are of one size.
        evidence: ``subsets`` and ``subset_losses``.

    Raises:
        InputError: If the evidence is missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    return lds_of_queries(values, evidence).mean().item()


def lds_of_queries(values: Tensor, evidence: Evidence) -> Tensor:
    """Return each query's correlation, ``[query]``; see ``lds``."""
    truth = retrained(evidence, *values.shape)
    return spearman_rows(subset_sums(values, evidence), -truth.losses.nanmean(0).T)


def subset_sums(values: Tensor, evidence: Evidence) -> Tensor:
    """Return ``sum_{i in S_m} tau(q, i)``, ``[query, subset]``, float64.

    Raises:
        InputError: See ``lds``.
    """
    scores = checked(values)
    return scores @ retrained(evidence, *scores.shape).subsets.T


def one_retraining(evidence: Evidence) -> Tensor:
    """Return how well one retraining predicts another, ``[query]``: the noise ceiling.

    Spearman's correlation over subsets of the losses with one seed and their mean over the other
    seeds, over the subsets that were trained with every seed; mean over seeds.

    Raises:
        InputError: If there are fewer than two seeds, or fewer than 3 subsets trained with all.
    """
    losses = evidence.required("subset_losses", _WHY, (None, None, None)).double()
    shared = losses[:, losses.isfinite().all(2).all(0)]
    seeds, subsets = shared.shape[:2]
    if seeds < 2 or subsets < 3:
        raise InputError(
            "a noise ceiling needs at least 3 subsets retrained with at least 2 seeds, got "
            f"{subsets} with {seeds}"
        )
    total = shared.sum(0)
    parts = [spearman_rows(own.T, ((total - own) / (seeds - 1)).T) for own in shared]
    return torch.stack(parts).mean(0)


class Retrained(NamedTuple):
    """What retraining showed, in float64."""

    subsets: Tensor
    """``[subset, train]``."""
    losses: Tensor
    """``[seed, subset, query]``; NaN where a subset was not retrained with a seed."""


def retrained(evidence: Evidence, queries: int, train: int) -> Retrained:
    """Return what is known of retraining.

    Raises:
        InputError: If it is missing, misshapen, or a subset was retrained with no seed.
    """
    subsets = evidence.required("subsets", _WHY, (None, train)).double()
    losses = evidence.required("subset_losses", _WHY, (None, len(subsets), queries)).double()
    trained = losses.isfinite().any(0)
    if not trained.all():
        subset = int((~trained).any(1).nonzero()[0])
        raise InputError(f"evidence subset_losses: subset {subset} was retrained with no seed")
    return Retrained(subsets, losses)
