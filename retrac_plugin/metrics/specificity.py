"""Specificity: do different queries get different answers?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.occurrence import reach


def specificity(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return ``|union_q TopK(q)| / (Q K)``, between ``1/Q`` and 1; higher is more targeted.

    Source: the authors' notebook (their repository, commit af78c5e), K = 50; the abstract of Xie et
    al. (TMLR 2024) reports over 60% more with ReTrac.

    Args:
        values: Scores ``[query, train]``; all equal, they get the least value, ``1/Q``.
        evidence: Not needed.
        k: Length of each top list.

    Raises:
        InputError: If ``k`` or the scores cannot be used.
    """
    return reach(values, k)[1].item() / (len(values) * k)
