"""Image tracing: does a query that is a training image find itself?

Source: the self-retrieval figures of Xie et al. (TMLR 2024). Ties are broken at random, in
expectation, so scores that are all equal get what guessing gets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.top import membership
from retrac_plugin.metrics.values import checked


def hit(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return the share of queries whose own training image is in their top ``k`` (hit@k).

    Args:
        values: Scores ``[query, train]``; all equal, they get ``k / train``.
        evidence: ``query_train_index``.
        k: Length of each top list.

    Raises:
        InputError: If the index is missing or outside the training set, or ``k`` or the scores
            cannot be used.
    """
    shares = membership(values, k)
    return shares.gather(1, _own_index(shares, evidence)).mean().item()


def mean_reciprocal_rank(values: Tensor, evidence: Evidence) -> float:
    """Return the mean over queries of 1 / (rank of the query's own training image).

    Args:
        values: Scores ``[query, train]``; all equal, they get the mean of 1/1, 1/2, ..., 1/train.
        evidence: ``query_train_index``.

    Raises:
        InputError: If the index is missing or outside the training set, or the scores cannot be
            used.
    """
    scores = checked(values)
    own = scores.gather(1, _own_index(scores, evidence))
    above = (scores > own).sum(dim=1)
    tied = (scores == own).sum(dim=1)
    ranks = torch.arange(1, scores.shape[1] + 1, dtype=scores.dtype)
    summed = torch.cat([ranks.new_zeros(1), (1 / ranks).cumsum(0)])  # of 1/rank, up to each rank
    return ((summed[above + tied] - summed[above]) / tied).mean().item()


def _own_index(scores: Tensor, evidence: Evidence) -> Tensor:
    """Return each query's position in the training set, ``[query, 1]``."""
    queries, train = scores.shape
    why = "to know which training image each query is"
    own = evidence.required("query_train_index", why, (queries,)).long()
    outside = own[(own < 0) | (own >= train)]
    if len(outside):
        raise InputError(
            f"evidence query_train_index: expected positions from 0 to {train - 1}, "
            f"got {outside[0].item()}"
        )
    return own[:, None]
