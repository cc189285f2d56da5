"""Where the gradient of each parameter lies in a row.

Large parameters come first, then the small ones, gathered into pages. A weight with a kernel lies
kernel first, ``(kernel, out, in)``, so that its gradient at one kernel offset is one contiguous
block. The layout depends on names and shapes alone: rows of different checkpoints can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

SMALL = 4096
"""Parameters with fewer elements share pages: biases, norms, low-rank factors."""

PAGE = SMALL
"""Columns of a page, at most."""


class Layout:
    """The columns of every parameter.

    Args:
        parameters: The attributed parameters by name.

    Attributes:
        width: Length of a row.
        columns: The columns of each parameter, by name.
        shapes: The shape of each parameter, by name.
        large: The parameters that come first, each in columns of its own.
        pages: Small parameters that share a page, neighbours in a row.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.shapes = {name: value.shape for name, value in parameters.items()}
        small = [name for name, value in parameters.items() if value.numel() < SMALL]
        self.large = [name for name, value in parameters.items() if value.numel() >= SMALL]
        self.columns: dict[str, slice] = {}
        self.width = 0
        for name in self.large + small:
            start, self.width = self.width, self.width + self.shapes[name].numel()
            self.columns[name] = slice(start, self.width)
        self.pages = self._pages(small)

    def _pages(self, small: list[str]) -> list[list[str]]:
        pages: list[list[str]] = []
        for name in small:
            if pages and self.columns[name].stop - self.columns[pages[-1][0]].start <= PAGE:
                pages[-1].append(name)
            else:
                pages.append([name])
        return pages

    def flatten(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return gradients by name, ``[row, *shape]`` each, as rows ``[row, width]``."""
        return torch.cat([flat(gradients[name]) for name in self.columns], dim=1)

    def unflatten(self, rows: Tensor) -> dict[str, Tensor]:
        """Return rows ``[row, width]`` as gradients by name, ``[row, *shape]`` each."""
        return {
            name: kernel_last(rows[:, self.columns[name]], shape)
            for name, shape in self.shapes.items()
        }


def row_dtype(parameters: Mapping[str, Tensor]) -> torch.dtype:
    """Return the real type of a row: the narrowest that holds the types of all parameters."""
    types = [torch.zeros((), dtype=value.dtype).real.dtype for value in parameters.values()]
    return reduce(torch.promote_types, types)


def flat(gradient: Tensor) -> Tensor:
    """Return gradients of one parameter, ``[row, *shape]``, in its columns, ``[row, column]``."""
    if gradient.dim() > 3:
        gradient = gradient.permute(0, *range(3, gradient.dim()), 1, 2)
    return gradient.reshape(gradient.shape[0], -1)


def kernel_last(columns: Tensor, shape: torch.Size) -> Tensor:
    """Return columns of one parameter, ``[row, column]``, in its own shape, ``[row, *shape]``."""
    if len(shape) < 3:
        return columns.reshape(-1, *shape)
    kernel_first = columns.reshape(-1, *shape[2:], *shape[:2])
    return kernel_first.movedim((-2, -1), (1, 2))
