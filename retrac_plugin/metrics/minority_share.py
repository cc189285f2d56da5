"""Minority share: does a planted minority intrude among the proponents of ordinary queries?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.top import membership


def minority_share(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return the share of the minority in the top ``k`` of majority queries, mean over those.

    Source: the CIFAR-MNIST experiment of Xie et al. (TMLR 2024), airplanes with 3.85% zeros; in
    their figure zeros fill 14 of 24 places with TracIn and none with ReTrac.

    Args:
        values: Scores ``[query, train]``; all equal, they get the base rate, the minority's share
            of the training set.
        evidence: ``train_is_minority`` and ``query_is_minority``.
        k: Length of each top list.

    Raises:
        InputError: If the evidence is missing, no query is of the majority, or ``k`` or the scores
            cannot be used.
    """
    shares = membership(values, k)
    queries, train = shares.shape
    why = "to find the minority among the proponents of majority queries"
    train_is_minority = evidence.required("train_is_minority", why, (train,)).bool()
    query_is_minority = evidence.required("query_is_minority", why, (queries,)).bool()
    if query_is_minority.all():
        raise InputError(f"expected at least one query of the majority, got none among {queries}")
    ordinary = shares[~query_is_minority]
    return ordinary[:, train_is_minority].sum().item() / (len(ordinary) * k)
