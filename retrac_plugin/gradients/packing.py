"""Functions by which values decide over shapes, as where padding is removed from captions.

What such a network packs together belongs to its samples in proportions that change from batch to
batch, so a check of one batch says nothing about the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_NAMES = ("nonzero", "masked_select", "argwhere", "unique", "unique_consecutive")
_READING = ("item", "tolist", "numpy", "__index__", "__int__")

_ALWAYS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(getattr(torch, name) for name in _NAMES),
        *(getattr(Tensor, name) for name in (*_NAMES, *_READING) if hasattr(Tensor, name)),
    }
)
_REPEATING = (torch.repeat_interleave, Tensor.repeat_interleave)


def shaped_by_values(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether values of tensors decide over the shape of what a function returns, or leave torch.

    Args:
        func: The function.
        args: What it is called with.
    """
    if func is Tensor.__getitem__:
        index = args[1] if isinstance(args[1], tuple) else args[1:]
        return any(isinstance(each, Tensor) and each.dtype == torch.bool for each in index)
    if func in _REPEATING:
        return any(isinstance(each, Tensor) for each in args[1:])
    return func in _ALWAYS
