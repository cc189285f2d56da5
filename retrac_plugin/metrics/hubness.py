"""Hubness: do a few training samples fill the top lists?"""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.occurrence import reach


def hubness(values: Tensor, evidence: Evidence, k: int) -> float:
    """Return the skewness of the counts ``#{q : i in TopK(q)}`` over the training samples ``i``.

    The skewness is the third central moment over the variance to the power 3/2, without correction
    for sample size. Source: Radovanovic et al., "Hubs in Space", JMLR 2010.

    Args:
        values: Scores ``[query, train]``; all equal, they count as ``k`` samples in every list.
        evidence: Not needed.
        k: Length of each top list.

    Returns:
        The skewness; 0 where all counts are equal, as when ``k`` is the whole training set.

    Raises:
        InputError: If ``k`` or the scores cannot be used.
    """
    at_least = reach(values, k)
    exactly = -torch.diff(at_least, append=at_least.new_zeros(1))  # samples with this count
    share = exactly / at_least[0]
    count = torch.arange(len(share), dtype=share.dtype)
    deviation = count - (share * count).sum()
    variance = (share * deviation**2).sum()
    if variance < torch.finfo(share.dtype).eps * len(share) ** 2:  # nothing but rounding
        return 0.0
    return ((share * deviation**3).sum() / variance**1.5).item()
