"""Layer normalisation, from the statistics that its forward pass makes anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.gradients.contributions import Contribution, Dense
from retrac_plugin.gradients.rules.call import Kept


@dataclass(frozen=True, eq=False)
class LayerNormCall:
    """``(inputs - mean) * rstd * weight + bias`` over the last dimensions."""

    weight: Tensor
    bias: Tensor | None
    shape: Sequence[int]
    eps: float

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        output, mean, rstd = torch.ops.aten.native_layer_norm(
            inputs, self.shape, self.weight, self.bias, self.eps
        )
        return output, (mean, rstd)

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        only_inputs = [True, False, False]
        gradient: Tensor = torch.ops.aten.native_layer_norm_backward(
            grad, inputs, self.shape, *kept, self.weight, self.bias, only_inputs
        )[0]
        return gradient

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        mean, rstd = kept
        normalised = (inputs - mean) * rstd
        shape = (rows, -1, *self.shape)
        yield self.weight, Dense((normalised * grad).reshape(shape).sum(1))
        if self.bias is not None:
            yield self.bias, Dense(grad.reshape(shape).sum(1))


def read_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> tuple[LayerNormCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.layer_norm``."""
    if weight is None or input.dim() <= len(normalized_shape):
        return None
    return LayerNormCall(weight, bias, normalized_shape, eps), input
