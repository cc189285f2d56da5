"""Parameters that meet the samples element by element: tables, scales, shifts.

Such a parameter is the same for all samples because it is broadcast over them. Where the broadcast
is made explicit, the backward pass itself gives one gradient per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy
import torch
from torch import Tensor

_NAMES = ("add", "sub", "mul", "div", "true_divide", "addcmul", "where")
_OPERATORS = ("add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "truediv")


def _methods(names: Iterable[str]) -> set[Callable[..., Tensor]]:
    return {getattr(torch.Tensor, name) for name in names if hasattr(torch.Tensor, name)}


POINTWISE: frozenset[Callable[..., Tensor]] = frozenset(
    {getattr(torch, name) for name in _NAMES}
    | _methods(_NAMES)
    | _methods(f"{name}_" for name in _NAMES)
    | _methods(f"__{name}__" for name in _OPERATORS)
)
"""Functions of broadcast tensors whose gradient autograd sums to the shape of each of them."""


def samples_first(parameters: list[Tensor], others: list[Tensor]) -> torch.Size | None:
    """Return the shape to which a pointwise function broadcasts, or None if it is not for us.

    The first dimension must be one that the parameters lack and another operand has.
    """
    shape = torch.Size(numpy.broadcast_shapes(*(each.shape for each in (*parameters, *others))))
    if not any(each.shape[:1] == shape[:1] and each.dim() == len(shape) for each in others):
        return None
    lacking = all(each.dim() < len(shape) or each.shape[0] == 1 for each in parameters)
    return shape if shape and lacking else None


def with_samples(parameter: Tensor, shape: torch.Size) -> Tensor:
    """Return a view of a parameter with the first dimension of ``shape`` in front."""
    aligned = parameter[(None,) * (len(shape) - parameter.dim())]
    return aligned.expand(shape[0], *aligned.shape[1:])
