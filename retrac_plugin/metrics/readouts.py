"""The linear datamodelling score of what is read out of scores, beside that of the scores.

A readout names no other images, yet it can raise the score: squaring, or dropping all but the
largest, changes which images decide a subset's sum. A method is not better for its readout.
"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.lds import lds
from retrac_plugin.metrics.values import checked


def lds_squared(values: Tensor, evidence: Evidence) -> float:
    """Return the score of squared scores; see ``lds``."""
    return lds(checked(values).square(), evidence)


def lds_of_largest(values: Tensor, evidence: Evidence, share: float) -> float:
    """Return the score of the largest scores alone, by size; all others count as 0. See ``lds``.

    Args:
        values: Scores ``[query, train]``.
        evidence: See ``lds``.
        share: Of a query's scores, how many are kept; at least one.
    """
    scores = checked(values)
    count = max(1, round(share * scores.shape[1]))
    smallest = scores.abs().topk(count, dim=1).values[:, -1:]
    return lds(scores.where(scores.abs() >= smallest, 0.0), evidence)
