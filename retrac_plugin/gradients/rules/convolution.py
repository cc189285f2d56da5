"""Convolutions in one, two and three dimensions.

The weight's gradient at one kernel offset is an outer product of the output's gradient with the
input shifted by that offset: one matrix product per offset, and no unfolded copy of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from retrac_plugin.gradients.contributions import Contribution, Dense, OuterProducts
from retrac_plugin.gradients.rules.call import Kept, sum_to_rows
from retrac_plugin.gradients.rules.positions import Geometry, Positions, pair_up

_CONVOLVE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


class ConvolutionProducts(OuterProducts):
    """``G[offset] = sum_p grads_p shifted_inputs[offset]_p^T``."""

    def __init__(self, call: ConvolutionCall, inputs: Tensor, grad: Tensor, rows: int) -> None:
        self._call, self._inputs, self._grad = call, inputs, grad
        self.rows = rows
        self.positions = inputs.shape[0] // rows * grad[0, 0].numel()
        num_out, num_in, *kernel = call.weight.shape
        self.shape = (math.prod(kernel), num_out, num_in)
        self._pairs: Positions | None = None

    def grads(self) -> Tensor:
        """See ``OuterProducts.grads``."""
        return self._pair_up().grads

    def patches(self) -> Iterator[Tensor]:
        """See ``OuterProducts.patches``."""
        return self._pair_up().patches()

    def projected(self, outward: Tensor, inward: Tensor) -> Tensor:
        """See ``OuterProducts.projected``."""
        small_inputs = self._call.convolve(self._inputs, inward).flatten(2)
        small_grads = outward @ self._grad.flatten(2)
        return sum_to_rows(torch.bmm(small_grads, small_inputs.transpose(1, 2)), self.rows)

    def _pair_up(self) -> Positions:
        if self._pairs is None:
            self._pairs = pair_up(self._inputs, self._grad, self._call.geometry, self.rows)
        return self._pairs


@dataclass(frozen=True, eq=False)
class GroupedConvolution:
    """The same for channels in groups that do not see each other."""

    call: ConvolutionCall
    inputs: Tensor
    grad: Tensor
    rows: int

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """See ``Contribution.blocks``."""
        pairs = pair_up(self.inputs, self.grad, self.call.geometry, self.rows)
        grads = self._grouped(pairs.grads).transpose(2, 3)
        for offset, patch in enumerate(pairs.patches()):
            block = (grads @ self._grouped(patch)).flatten(1)
            yield offset * block.shape[1], block

    def _grouped(self, values: Tensor) -> Tensor:
        """Return ``[row, position, channel]`` as ``[row, group, position, channel]``."""
        return values.reshape(*values.shape[:2], self.call.groups, -1).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class ConvolutionCall:
    """A convolution with its options."""

    weight: Tensor
    bias: Tensor | None
    geometry: Geometry
    groups: int

    def convolve(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the convolution with a weight of the same kernel size."""
        g = self.geometry
        function = _CONVOLVE[len(g.kernel)]
        return function(inputs, weight, bias, g.stride, g.padding, g.dilation, self.groups)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        return self.convolve(inputs, self.weight, self.bias), ()

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        g = self.geometry
        options = (g.stride, g.padding, g.dilation, False, [0] * len(g.kernel), self.groups)
        only_inputs = [True, False, False]
        backward = torch.ops.aten.convolution_backward
        gradient: Tensor = backward(grad, inputs, self.weight, None, *options, only_inputs)[0]
        return gradient

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        if self.bias is not None:
            yield self.bias, Dense(sum_to_rows(grad.flatten(2).sum(2), rows))
        products = ConvolutionProducts if self.groups == 1 else GroupedConvolution
        yield self.weight, products(self, inputs, grad, rows)


def read_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[ConvolutionCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.conv1d``, ``conv2d`` or ``conv3d``."""
    kernel = tuple(weight.shape[2:])
    if input.dim() != weight.dim():  # a single sample without a batch
        return None
    stride, dilation = _each(stride, kernel), _each(dilation, kernel)
    if padding == "same":
        input, padding = _pad_to_same(input, kernel, dilation), 0
    elif padding == "valid":
        padding = 0
    geometry = Geometry(kernel, stride, _each(padding, kernel), dilation)
    return ConvolutionCall(weight, bias, geometry, groups), input


def _each(option: int | Sequence[int], kernel: tuple[int, ...]) -> tuple[int, ...]:
    values = (option,) if isinstance(option, int) else tuple(option)
    return values * len(kernel) if len(values) == 1 else values


def _pad_to_same(input: Tensor, kernel: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Pad as ``padding="same"`` does: what is odd goes to the far side."""
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    margins = [part for total in reversed(totals) for part in (total // 2, total - total // 2)]
    return functional.pad(input, margins)
