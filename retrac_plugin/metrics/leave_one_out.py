"""Leave-one-out: do scores predict what training without one sample does?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked

_WHY = "to compare scores with training without a sample"


def leave_one_out(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation of scores with the loss after leaving a sample out.

    Per query over the samples that were left out, the loss being the mean over retraining seeds;
    mean over queries. Source: Koh and Liang, ICML 2017. The effect of one sample is soon smaller
    than that of the seed, so a low value need not be the method's fault.

    Args:
        values: Scores ``[query, train]``; all equal, they get 0.
        evidence: ``left_out`` and ``left_out_losses``.

    Raises:
        InputError: If the evidence is missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    scores = checked(values)
    losses = evidence.required("left_out_losses", _WHY, (None, None, len(scores))).double().mean(0)
    own = _of_left_out(scores, evidence, "left_out", len(losses))
    return spearman_rows(own, losses.T).mean().item()


def continued(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation of scores with the rise of the loss without a sample.

    Without it from a late checkpoint on: the recorded training is continued, the same steps with
    the same draws, and the sample's term is left out. Retraining has no noise then. Per query over
    the samples that were left out; mean over queries.

    Args:
        values: Scores ``[query, train]``; all equal, they get 0.
        evidence: ``continued`` and ``continued_changes``.

    Raises:
        InputError: If the evidence is missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    return spearman_rows(*continued_sides(values, evidence)).mean().item()


def continued_sides(values: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Return what ``continued`` correlates, both ``[query, sample]``, float64.

    Raises:
        InputError: See ``continued``.
    """
    scores = checked(values)
    changes = evidence.required("continued_changes", _WHY, (None, len(scores))).double()
    return _of_left_out(scores, evidence, "continued", len(changes)), changes.T


def _of_left_out(scores: Tensor, evidence: Evidence, field: str, count: int) -> Tensor:
    """Return the scores of the samples that were left out, ``[query, sample]``."""
    train = scores.shape[1]
    left_out = evidence.required(field, _WHY, (count,)).long()
    outside = left_out[(left_out < 0) | (left_out >= train)]
    if len(outside):
        raise InputError(
            f"evidence {field}: expected positions from 0 to {train - 1}, got {outside[0].item()}"
        )
    return scores[:, left_out]
