"""The loss of each element, before the mean over a sample's elements."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

ElementLoss = Callable[[Tensor, Tensor], Tensor]
"""``(prediction, target) -> loss`` of each element."""

Loss = str | ElementLoss
"""A key of ``LOSSES``, or a function."""


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the elementwise squared error."""
    return (prediction - target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the elementwise absolute error."""
    return (prediction - target).abs()


def smooth_l1(c: float = 0.1) -> ElementLoss:
    """Return ``2 (sqrt(d^2 + c^2) - c)`` of the difference d: twice its size, rounded off.

    As in the training scripts of diffusers that follow Khrapov et al., arXiv 2403.16728.
    """
    return lambda prediction, target: 2 * (((prediction - target).square() + c**2).sqrt() - c)


def huber(c: float = 0.1) -> ElementLoss:
    """Return ``2 c (sqrt(d^2 + c^2) - c)`` of the difference d: its square, linear beyond ``c``.

    As in the training scripts of diffusers that follow Khrapov et al., arXiv 2403.16728.
    """
    smooth = smooth_l1(c)
    return lambda prediction, target: c * smooth(prediction, target)


LOSSES: dict[str, ElementLoss] = {
    "mse": squared_error,
    "l1": absolute_error,
    "huber": huber(),
    "smooth_l1": smooth_l1(),
}
