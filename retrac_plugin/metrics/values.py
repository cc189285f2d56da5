"""The scores as every metric takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


def checked(values: Tensor) -> Tensor:
    """Return scores ``[query, train]`` as float64 on the CPU, in which equal scores stay equal.

    Raises:
        InputError: If they are not a matrix with at least one query and one training sample, or if
            one of them is NaN or infinite.
    """
    if values.ndim != 2 or values.numel() == 0:
        raise InputError(
            f"expected scores [query, train], got a tensor of shape {list(values.shape)}"
        )
    wrong = (~torch.isfinite(values)).nonzero()
    if len(wrong):
        query, sample = wrong[0].tolist()
        raise InputError(
            f"expected finite scores, got {values[query, sample].item()} for query {query} and "
            f"training sample {sample} (and {len(wrong) - 1} more)"
        )
    return values.detach().double().cpu()
