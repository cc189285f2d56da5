"""What a layer rule provides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from torch import Tensor

from retrac_plugin.gradients.contributions import Contribution

Kept = tuple[Tensor, ...]
"""Tensors that a call keeps for its backward pass beside its inputs."""


class LayerCall(Protocol):
    """One call of one layer, with its parameters and options.

    The inputs are handed in each time instead of being held here: so they are freed as soon as the
    backward pass has gone by.
    """

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the layer's output, and what to keep."""

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """Return the gradient of the inputs, given that of the output."""

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """Yield each parameter with what this call adds to its gradient.

        Args:
            inputs: Sample first, the samples of a row side by side; a sample may have been unfolded
                into several consecutive entries.
            kept: What ``forward`` kept.
            grad: The gradient of the output.
            rows: How many rows the first dimension makes.
        """


Reader = Callable[..., tuple[LayerCall, Tensor] | None]
"""Takes a function's own arguments; returns the call and its inputs, or None: not for this rule."""


def sum_to_rows(values: Tensor, rows: int) -> Tensor:
    """Return ``[sample, ...]`` summed within rows, ``[row, ...]``."""
    if values.shape[0] == rows:
        return values
    return values.reshape(rows, -1, *values.shape[1:]).sum(1)
