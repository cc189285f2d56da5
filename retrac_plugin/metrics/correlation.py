"""Spearman's rank correlation, row by row, for scores that may be constant."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.extras import requires

ROUNDING = 1e-12
"""Differences below this share of a row's size are rounding, not a ranking."""


def spearman_rows(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's correlation of each row of ``first`` with that of ``second``, ``[row]``.

    Equal values share their mean rank. A row without a ranking, all its values equal, says nothing
    about the other one: 0.

    Args:
        first: ``[row, item]``, float64.
        second: The same shape.

    Raises:
        MissingDependencyError: If scipy is not installed.
    """
    ranks = [_centred_ranks(values) for values in (first, second)]
    sizes = [torch.linalg.vector_norm(rank, dim=1) for rank in ranks]
    product = sizes[0] * sizes[1]
    return torch.where(product > 0, (ranks[0] * ranks[1]).sum(1) / product, 0.0)


def _centred_ranks(values: Tensor) -> Tensor:
    with requires("a rank correlation", "metrics"):
        from scipy.stats import rankdata
    size = values.abs().amax(1, keepdim=True)
    spread = values.amax(1, keepdim=True) - values.amin(1, keepdim=True)
    ranked = torch.from_numpy(rankdata(values.numpy(), axis=1))
    centred = ranked - ranked.mean(1, keepdim=True)
    return torch.where(spread > ROUNDING * size, centred, 0.0)
