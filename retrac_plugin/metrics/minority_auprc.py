"""Mixed data sets: do queries of a planted minority find that minority?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.outliers import auprc
from retrac_plugin.metrics.values import checked


def minority_auprc(values: Tensor, evidence: Evidence) -> float:
    """Return the area under the precision-recall curve of the minority, mean over its queries.

    Source: the mixed data sets of Hammoudeh and Lowd (CCS 2022), as in quanda; the zeros of
    CIFAR-MNIST for queries that are zeros.

    Args:
        values: Scores ``[query, train]``; all equal, they get the base rate, the minority's share
            of the training set.
        evidence: ``train_is_minority`` and ``query_is_minority``.

    Raises:
        InputError: If the evidence is missing, no query is of the minority, or the scores cannot
            be used.
        MissingDependencyError: If scikit-learn is not installed.
    """
    scores = checked(values)
    queries, train = scores.shape
    why = "to find the minority among the proponents of its own queries"
    train_is_minority = evidence.required("train_is_minority", why, (train,)).bool()
    query_is_minority = evidence.required("query_is_minority", why, (queries,)).bool()
    if not query_is_minority.any():
        raise InputError(f"expected at least one query of the minority, got none among {queries}")
    areas = [auprc(own, train_is_minority) for own in scores[query_is_minority]]
    return sum(areas) / len(areas)
