"""Root-mean-square normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retrac_plugin.gradients.contributions import Contribution, Dense
from retrac_plugin.gradients.rules.call import Kept


@dataclass(frozen=True, eq=False)
class RMSNormCall:
    """``inputs / sqrt(mean(inputs^2) + eps) * weight`` over the last dimensions."""

    weight: Tensor
    shape: Sequence[int]
    eps: float | None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        eps = torch.finfo(inputs.dtype).eps if self.eps is None else self.eps
        rstd = torch.rsqrt(self._mean(inputs.square()) + eps)
        return functional.rms_norm(inputs, list(self.shape), self.weight, self.eps), (rstd,)

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        (rstd,) = kept
        normalised, scaled = inputs * rstd, grad * self.weight
        return rstd * (scaled - normalised * self._mean(scaled * normalised))

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        (rstd,) = kept
        scale = (inputs * rstd * grad).reshape(rows, -1, *self.shape).sum(1)
        yield self.weight, Dense(scale)

    def _mean(self, values: Tensor) -> Tensor:
        return values.mean(tuple(range(-len(self.shape), 0)), keepdim=True)


def read_rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> tuple[RMSNormCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.rms_norm``."""
    if weight is None or input.dim() <= len(normalized_shape):
        return None
    return RMSNormCall(weight, normalized_shape, eps), input
