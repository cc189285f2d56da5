"""How many training samples are in the top K of how many queries."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.metrics.top import membership


def reach(values: Tensor, k: int) -> Tensor:
    """Return how many training samples are in the top ``k`` of at least ``m`` queries, for every m.

    Ties count against the method: they are broken alike for all queries, so scores that are all
    equal name the same ``k`` samples for every query. A sample's probability of being in at least
    ``m`` top lists is then its m-th largest membership, which needs no order of the samples.

    Args:
        values: Scores ``[query, train]``.
        k: Length of each top list.

    Returns:
        ``[query + 1]``, float64, at position ``m``; whole numbers where there are no ties.

    Raises:
        InputError: If ``k`` or the scores cannot be used.
    """
    shares = membership(values, k)
    # Most training samples are in no top list: sorting them would take most of the time.
    named = shares[:, (shares > 0).any(dim=0)].T.contiguous()
    at_least = named.sort(dim=1, descending=True).values.sum(dim=0)
    return torch.cat([at_least.new_tensor([shares.shape[1]]), at_least])
