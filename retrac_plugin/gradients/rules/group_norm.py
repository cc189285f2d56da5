"""Group normalisation, from the statistics that its forward pass makes anyway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.gradients.contributions import Contribution, Dense
from retrac_plugin.gradients.rules.call import Kept, sum_to_rows


@dataclass(frozen=True, eq=False)
class GroupNormCall:
    """``(inputs - mean) * rstd * weight + bias``, mean and deviation of each sample's groups."""

    weight: Tensor
    bias: Tensor | None
    groups: int
    eps: float

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        inputs = _dense(inputs)
        output, mean, rstd = torch.ops.aten.native_group_norm(
            inputs, self.weight, self.bias, *_sizes(inputs), self.groups, self.eps
        )
        return output, (mean, rstd)

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """See ``LayerCall.input_gradient``."""
        inputs = _dense(inputs)
        # The native kernel reads both by the same strides.
        grad = grad.contiguous(memory_format=_memory_format(inputs))
        only_inputs = [True, False, False]
        gradient: Tensor = torch.ops.aten.native_group_norm_backward(
            grad, inputs, *kept, self.weight, *_sizes(inputs), self.groups, only_inputs
        )[0]
        return gradient

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        mean, rstd = (
            each.view(inputs.shape[0], -1).repeat_interleave(inputs.shape[1] // self.groups, 1)
            for each in kept
        )
        values, grads = inputs.flatten(2), grad.flatten(2)
        total = grads.sum(2)
        # sum_p grad_p (input_p - mean) rstd, without a normalised copy of the inputs.
        scale = rstd * (torch.linalg.vecdot(grads, values, dim=2) - mean * total)
        yield self.weight, Dense(sum_to_rows(scale, rows))
        if self.bias is not None:
            yield self.bias, Dense(sum_to_rows(total, rows))


def read_group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> tuple[GroupNormCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.group_norm``."""
    if weight is None:
        return None
    return GroupNormCall(weight, bias, num_groups, eps), input


def _dense(inputs: Tensor) -> Tensor:
    return inputs.contiguous(memory_format=_memory_format(inputs))


def _memory_format(inputs: Tensor) -> torch.memory_format:
    """The kernel for the CPU reads channels-last inputs as they are; all others need rows."""
    if inputs.dim() == 4 and inputs.device.type == "cpu" and not inputs.is_contiguous():
        _, channels, height, width = inputs.shape
        # Exactly so: the kernel takes no other strides, not even where a dimension is 1.
        if inputs.stride() == (height * width * channels, 1, width * channels, channels):
            return torch.channels_last
    return torch.contiguous_format


def _sizes(inputs: Tensor) -> tuple[int, int, int]:
    return inputs.shape[0], inputs.shape[1], inputs[0, 0].numel()
