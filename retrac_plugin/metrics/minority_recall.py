"""Minority recall: how many of a planted minority do its own queries name?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.top import membership


def minority_recall(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return the share of the minority that is in the top ``k`` of its queries, mean over those.

    Args:
        values: Scores ``[query, train]``; all equal, they get ``k`` over the training set's size.
        evidence: ``train_is_minority`` and ``query_is_minority``.
        k: Length of each top list; where it is shorter than the minority, 1 is out of reach.

    Raises:
        InputError: If the evidence is missing, no query or no training sample is of the minority,
            or ``k`` or the scores cannot be used.
    """
    shares = membership(values, k)
    queries, train = shares.shape
    why = "to find the minority among the proponents of its own queries"
    train_is_minority = evidence.required("train_is_minority", why, (train,)).bool()
    query_is_minority = evidence.required("query_is_minority", why, (queries,)).bool()
    if not query_is_minority.any() or not train_is_minority.any():
        raise InputError(
            f"expected at least one query and one training sample of the minority, got none among "
            f"{queries} queries and {train} samples"
        )
    return shares[query_is_minority][:, train_is_minority].mean().item()
