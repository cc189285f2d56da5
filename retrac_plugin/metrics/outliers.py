"""Outliers by self-influence: does the planted minority have the largest self-influence?

What is registered takes self-influence from the evidence and no part of the scores. Equal values
count half in the ROC curve, as usual; all equal, they get 0.5 and, under the precision-recall
curve, the minority's share of the set.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.extras import requires
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked


def auroc(self_influence: Tensor, is_minority: Tensor) -> float:
    """Return the area under the ROC curve of the minority, ranked by self-influence.

    Args:
        self_influence: ``[train]``.
        is_minority: True for the planted samples, ``[train]``.

    Raises:
        InputError: If shapes differ, a value is not finite, or one of the two groups is empty.
        MissingDependencyError: If scikit-learn is not installed.
    """
    truth, ranking = _checked_pair(self_influence, is_minority)
    return float(_sklearn_metrics().roc_auc_score(truth, ranking))


def auprc(self_influence: Tensor, is_minority: Tensor) -> float:
    """Return the area under the precision-recall curve of the minority (average precision).

    Args:
        self_influence: ``[train]``.
        is_minority: True for the planted samples, ``[train]``.

    Raises:
        InputError: If shapes differ, a value is not finite, or one of the two groups is empty.
        MissingDependencyError: If scikit-learn is not installed.
    """
    truth, ranking = _checked_pair(self_influence, is_minority)
    return float(_sklearn_metrics().average_precision_score(truth, ranking))


def auroc_of(values: Tensor, evidence: Evidence) -> float:
    """Return ``auroc`` of the evidence's self-influence and minority; scores are not looked at.

    Args:
        values: Scores ``[query, train]``.
        evidence: ``self_influence`` and ``train_is_minority``.

    Raises:
        InputError: If the evidence is missing or cannot be used.
        MissingDependencyError: If scikit-learn is not installed.
    """
    return auroc(*_known(values, evidence))


def auprc_of(values: Tensor, evidence: Evidence) -> float:
    """Return ``auprc`` of the evidence's self-influence and minority; scores are not looked at.

    Args:
        values: Scores ``[query, train]``.
        evidence: ``self_influence`` and ``train_is_minority``.

    Raises:
        InputError: If the evidence is missing or cannot be used.
        MissingDependencyError: If scikit-learn is not installed.
    """
    return auprc(*_known(values, evidence))


def _known(values: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    shape, why = (values.shape[1],), "to find outliers by self-influence"
    self_influence = evidence.required("self_influence", why, shape)
    return self_influence, evidence.required("train_is_minority", why, shape)


def _checked_pair(self_influence: Tensor, is_minority: Tensor) -> tuple[Any, Any]:
    if self_influence.ndim != 1 or self_influence.shape != is_minority.shape:
        raise InputError(
            "expected self-influence [train] and is_minority [train], got "
            f"{list(self_influence.shape)} and {list(is_minority.shape)}"
        )
    truth = is_minority.detach().bool().cpu()
    if truth.all() or not truth.any():
        raise InputError(
            f"expected samples of the minority and of the majority, got {int(truth.sum())} of "
            f"{len(truth)} in the minority"
        )
    return truth.numpy(), checked(self_influence[None])[0].numpy()


def _sklearn_metrics() -> Any:
    with requires("an area under a curve", "metrics"):
        from sklearn import metrics
    return metrics
