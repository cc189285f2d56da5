"""How a network is called, and what stands between it and the prediction that the loss sees.

A network ``F`` may be trained inside ``D = c_skip x_t + c_out F(c_in x_t, c_noise)``: Karras et
al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, equation 7.
Then ``D`` is the prediction, and ``c_noise`` is what the network is told of the timestep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Conditions = Mapping[str, Any]
"""The denoiser's own keyword arguments: tensors ``[sample, ...]``, or mappings of such."""

Predict = Callable[[Callable[..., Any], Tensor, Tensor, Conditions], Tensor]
"""``(call, noisy, timesteps, conditions) -> prediction``, where ``call`` is the network."""


class Frame(NamedTuple):
    """The scalars around a network, each ``[sample]``."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


@runtime_checkable
class Preconditioned(Protocol):
    """A noise schedule whose network is trained inside a frame."""

    def frame(self, timesteps: Tensor, dtype: torch.dtype) -> Frame:
        """Return the scalars at some timesteps."""

    def c_noise(self, timesteps: Tensor) -> Tensor:
        """Return what the network is told of some timesteps."""


def precondition(predict: Predict, schedule: Preconditioned) -> Predict:
    """Return how to get ``D`` where ``predict`` says how to get ``F``."""

    def predict_inside(
        call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        shape = (-1,) + (1,) * (noisy.dim() - 1)
        c_in, c_skip, c_out = (c.view(shape) for c in schedule.frame(timesteps, noisy.dtype))
        output = predict(call, c_in * noisy, schedule.c_noise(timesteps), conditions)
        return c_skip * noisy + c_out * output

    return predict_inside
