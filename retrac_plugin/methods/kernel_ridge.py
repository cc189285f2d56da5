"""Kernel ridge regression as an attributor: what each training sample adds to a prediction.

A kernel ridge regression predicts at a query ``q`` by ``k(q, X) (k(X, X) + lambda I)^-1 y``; the
weight of sample ``i``'s label ``y_i`` in it is sample ``i``'s score. ``lambda`` is a multiple, the
damping, of the mean eigenvalue of ``k(X, X)``, which is the mean of its diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


class Limit(NamedTuple):
    """How many training samples a method takes that inverts a matrix ``[train, train]``."""

    instead: str
    """The method for more."""
    samples: int = 20_000
    """Their matrix takes 3.2 GB in float64."""

    def check(self, name: str, train: int) -> None:
        """Refuse a training set that is larger.

        Raises:
            InputError: If it is.
        """
        if train > self.samples:
            raise InputError(
                f"{name} inverts a matrix [train, train]: expected at most {self.samples:,} "
                f"training samples, got {train:,}. Use {self.instead}"
            )


def kernel_weights(query_kernel: Tensor, train_kernel: Tensor, damping: float) -> Tensor:
    """Return ``k(q, X) (k(X, X) + lambda I)^-1``, ``[query, train]``.

    Args:
        query_kernel: ``k(q, X)``, ``[query, train]``.
        train_kernel: ``k(X, X)``, ``[train, train]``; overwritten.
        damping: See above; more than 0.
    """
    train_kernel.diagonal().add_(damping * train_kernel.diagonal().mean())
    factor = torch.linalg.cholesky(train_kernel)
    return torch.cholesky_solve(query_kernel.T, factor).T


def cubic(train: Tensor, queries: Tensor, damping: float) -> Tensor:
    """Return the weights by ``k(x, y) = ((1 + <x, y>) / 2)^3`` of directions, ``[query, train]``.

    Args:
        train: ``[train, d]``.
        queries: ``[query, d]``.
        damping: See above.
    """
    own, theirs = wide(train), wide(queries)
    return kernel_weights(_cubed(theirs @ own.T), _cubed(own @ own.T), damping).to(train.dtype)


def linear(gram: Tensor, count: int, queries: Tensor, damping: float) -> Tensor:
    """Return ``(X^T X + lambda I)^-1 q``, ``[query, d]``; its product with ``x_i`` is the weight.

    That is the weight by ``k(x, y) = <x, y>``; no matrix ``[train, train]`` is formed.

    Args:
        gram: ``X^T X``, ``[d, d]``.
        count: Number of rows of ``X``.
        queries: ``[query, d]``.
        damping: See above.
    """
    damped = gram + torch.eye(len(gram)).to(gram) * (damping * gram.trace() / count)
    solved = torch.cholesky_solve(wide(queries).T, torch.linalg.cholesky(damped))
    return solved.T.to(queries.dtype)


def _cubed(products: Tensor) -> Tensor:
    return products.add_(1).div_(2).pow_(3)


def wide(values: Tensor) -> Tensor:
    """Return float64 values, to solve with; as they are where the device has none."""
    return values if values.device.type == "mps" else values.double()
