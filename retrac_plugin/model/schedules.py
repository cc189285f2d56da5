"""Noise schedules: how a clean sample becomes a noisy one at each timestep of training.

Timesteps are always integers, positions in the schedule's table from 0 to ``num_timesteps - 1``,
whatever the network is told of them. In a ``VariancePreserving`` table noise grows with the
timestep; a ``NoiseLevels`` table is kept in the order in which its scheduler keeps it, and those of
diffusers begin with the most noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from retrac_plugin.model.preconditioning import Frame


@runtime_checkable
class NoiseSchedule(Protocol):
    """How a clean sample becomes a noisy one at timestep t."""

    @property
    def num_timesteps(self) -> int:
        """Timesteps run from 0 to this number, exclusive."""

    @property
    def prediction_type(self) -> str:
        """What the denoiser is asked for, a key of ``retrac_plugin.model.diffusion.TARGETS``."""

    def coefficients(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return ``a_t`` and ``s_t`` of ``x_t = a_t x + s_t eps``, each shaped as ``timesteps``."""


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """The schedule of DDPM and DDIM: ``a_t^2 = alphas_cumprod[t]``, ``s_t^2 = 1 - a_t^2``."""

    alphas_cumprod: Tensor
    prediction_type: str = "epsilon"

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps of the training process."""
        return self.alphas_cumprod.shape[0]

    def coefficients(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """See ``NoiseSchedule.coefficients``."""
        # Cast before the square root, as diffusers does: the two orders differ at 1e-8.
        alphas = self.alphas_cumprod.to(timesteps.device, dtype)[timesteps]
        return alphas.sqrt(), (1 - alphas).sqrt()


def interpolated(sigmas: Tensor) -> Tensor:
    """Flow matching: ``a_t = 1 - sigma``, so that ``x_t`` lies between sample and noise."""
    return 1 - sigmas


def unscaled(sigmas: Tensor) -> Tensor:
    """Karras et al. (2022): ``a_t = 1``, so that noise is added to the sample as it is."""
    return torch.ones_like(sigmas)


def bare(sigmas: Tensor) -> Frame:
    """No frame: the network's output is the prediction."""
    return Frame(torch.ones_like(sigmas), torch.zeros_like(sigmas), torch.ones_like(sigmas))


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """A schedule by a table of noise levels: ``s_t = sigmas[t]``, ``a_t = signal(sigmas[t])``.

    A timestep is a position in the table. The third argument of ``predict`` is never one: it is
    ``times`` at it, what the network is told. With a ``network_frame`` the prediction is ``c_skip
    x_t + c_out F(c_in x_t, times)``, put around what ``predict`` returns; without one, what
    ``predict`` returns is the prediction.

    Attributes:
        sigmas: Noise level of each timestep, ``[timestep]``.
        times: What the network is told of each timestep, ``[timestep]``.
        prediction_type: What the prediction is compared with, such as ``"flow"``.
        signal: How much of the sample is left at a noise level.
        network_frame: The scalars around the network at a noise level.
    """

    sigmas: Tensor
    times: Tensor
    prediction_type: str = "flow"
    signal: Callable[[Tensor], Tensor] = interpolated
    network_frame: Callable[[Tensor], Frame] = bare

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps of the training process."""
        return self.sigmas.shape[0]

    def coefficients(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """See ``NoiseSchedule.coefficients``."""
        sigmas = self._sigmas(timesteps, dtype)
        return self.signal(sigmas), sigmas

    def frame(self, timesteps: Tensor, dtype: torch.dtype) -> Frame:
        """See ``Preconditioned.frame``."""
        return self.network_frame(self._sigmas(timesteps, dtype))

    def c_noise(self, timesteps: Tensor) -> Tensor:
        """See ``Preconditioned.c_noise``."""
        return self.times.to(timesteps.device)[timesteps]

    def _sigmas(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return self.sigmas.to(timesteps.device, dtype)[timesteps]
