"""Linear layers, with any dimensions between the sample and the feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retrac_plugin.gradients.contributions import Contribution, Dense, OuterProducts
from retrac_plugin.gradients.rules.call import Kept


class LinearProducts(OuterProducts):
    """``G = sum_p grads_p inputs_p^T``."""

    def __init__(self, inputs: Tensor, grad: Tensor, rows: int) -> None:
        self._inputs = inputs.reshape(rows, -1, inputs.shape[-1])
        self._grads = grad.reshape(rows, -1, grad.shape[-1])
        self.rows, self.positions = self._inputs.shape[:2]
        self.shape = (1, grad.shape[-1], inputs.shape[-1])

    def grads(self) -> Tensor:
        """See ``OuterProducts.grads``."""
        return self._grads

    def patches(self) -> Iterator[Tensor]:
        """See ``OuterProducts.patches``."""
        yield self._inputs

    def projected(self, outward: Tensor, inward: Tensor) -> Tensor:
        """See ``OuterProducts.projected``."""
        return torch.bmm((self._grads @ outward.T).transpose(1, 2), self._inputs @ inward.T)


@dataclass(frozen=True, eq=False)
class LinearCall:
    """``inputs @ weight.T + bias``."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        return functional.linear(inputs, self.weight, self.bias), ()

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        return grad @ self.weight

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        products = LinearProducts(inputs, grad, rows)
        yield self.weight, products
        if self.bias is not None:
            yield self.bias, Dense(products.grads().sum(1))


@dataclass(frozen=True, eq=False)
class MatmulCall:
    """``inputs @ weight``."""

    weight: Tensor

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        return inputs @ self.weight, ()

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        return grad @ self.weight.T

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        # The weight lies the other way round, so its two sides change places.
        yield self.weight, LinearProducts(inputs=grad, grad=inputs, rows=rows)


def read_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[LinearCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.linear``."""
    if input.dim() < 2 or weight.dim() != 2:
        return None
    return LinearCall(weight, bias), input


def read_matmul(input: Tensor, other: Tensor) -> tuple[MatmulCall, Tensor] | None:
    """Read a product of activations with a weight."""
    if input.dim() < 2 or other.dim() != 2:
        return None
    return MatmulCall(other), input
