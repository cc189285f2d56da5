"""Random projections of gradients, behind one name so that a faster one can take the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retrac_plugin.errors import InputError
from retrac_plugin.randomness import uniforms

Projection = Callable[[Tensor], Tensor]
"""``rows [row, width] -> [row, dimension]``, linear, and keeping inner products on average."""

ProjectionFactory = Callable[[int, torch.device, torch.dtype], Projection]
"""``(width, device, dtype) -> projection``; the same for every checkpoint and output function."""


@dataclass(frozen=True)
class CountSketch:
    """A seeded count-sketch: number ``j`` is added, with a random sign, to ``j % dimension``.

    The signs are independent, so inner products are right on average, with a standard deviation of
    about ``|g| |h| / sqrt(dimension)``. Where ``dimension`` is at least the width they are exact.

    Attributes:
        dimension: Numbers that are kept.
        seed: Of the signs.
    """

    dimension: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise InputError(f"CountSketch: dimension must be at least 1, got {self.dimension}")

    def __call__(self, width: int, device: torch.device, dtype: torch.dtype) -> Projection:
        """Return the projection of rows of one width."""
        kept = min(self.dimension, width)
        coins = uniforms([(self.seed, width)], width)[0] < 0.5
        signs = torch.where(coins, -1, 1).to(device, dtype)

        def project(rows: Tensor) -> Tensor:
            padded = functional.pad(rows * signs, (0, -width % kept))
            summed: Tensor = padded.view(len(rows), -1, kept).sum(1)
            return summed

        return project
