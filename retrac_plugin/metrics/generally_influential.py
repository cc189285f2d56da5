"""Generally influential samples: those that are in the top K of many queries."""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.occurrence import reach

FEWEST = 2
"""Being in one query's top list is not general."""


def shared_by_two(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return ``GI_2``, the number of training samples in the top ``k`` of at least 2 queries.

    Source: after Xie et al. (2024), whose v1 abstract reports a third of the number with ReTrac and
    whose own threshold is not known to us.

    Args:
        values: Scores ``[query, train]``; all equal, they get the largest value, ``k``.
        evidence: Not needed.
        k: Length of each top list.

    Raises:
        InputError: If there are fewer than 2 queries, or ``k`` or the scores cannot be used.
    """
    return _shared_by(values, k, FEWEST)


def shared_by_half(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return ``GI_(Q/2)``, the number in the top ``k`` of at least half of the Q queries.

    Otherwise as ``shared_by_two``; needs 3 queries, since half of 2 is one.

    Raises:
        InputError: If there are fewer than 3 queries, or ``k`` or the scores cannot be used.
    """
    return _shared_by(values, k, (len(values) + 1) // 2)


def _shared_by(values: Tensor, k: int, queries: int) -> float:
    if not FEWEST <= queries <= len(values):
        raise InputError(
            "generally influential samples are shared by at least 2 queries: expected 2 or more "
            f"queries, 3 or more to ask for half of them, got {len(values)}"
        )
    return reach(values, k)[queries].item()
