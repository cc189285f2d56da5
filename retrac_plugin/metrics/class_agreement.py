"""Class agreement: do the proponents bear the query's class?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.top import membership


def class_agreement(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return the share of the top ``k`` that bears the query's own class, mean over queries.

    Source: the class-detection protocol of Hanawa et al. (ICLR 2021) at ``k`` proponents.

    Args:
        values: Scores ``[query, train]``; all equal, they get the base rate, the class's share of
            the training set.
        evidence: ``train_labels`` and ``query_labels``.
        k: Length of each top list.

    Raises:
        InputError: If a label is missing, or ``k`` or the scores cannot be used.
    """
    shares = membership(values, k)
    queries, train = shares.shape
    why = "to tell whether proponents bear the query's class"
    train_labels = evidence.required("train_labels", why, (train,))
    query_labels = evidence.required("query_labels", why, (queries,))
    same = query_labels[:, None] == train_labels[None, :]
    return (shares * same).sum().item() / (queries * k)
