"""Evenly spaced timesteps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.draws.draw import Draw, Request, check_positive
from retrac_plugin.draws.noise import noise_of
from retrac_plugin.errors import InputError


def evenly_spaced(rule: object, count: int, request: Request) -> Tensor:
    """Return the middles of ``count`` equal stretches of the schedule, ``[sample, count]``.

    Args:
        rule: Whose timesteps they are, for the message.
        count: How many.
        request: Says the samples and the schedule.

    Raises:
        InputError: If the schedule has fewer.
    """
    if count > request.num_timesteps:
        raise InputError(
            f"{type(rule).__name__}({count}) asks for more timesteps than the schedule has "
            f"({request.num_timesteps})"
        )
    middles = (2 * torch.arange(count) + 1) * request.num_timesteps // (2 * count)
    return middles.expand(len(request.ids), -1)


@dataclass(frozen=True)
class EvenlySpaced(ABC):
    """Timesteps evenly spaced over the schedule: the middles of ``count`` equal stretches.

    Attributes:
        count: How many timesteps.
        noise_draws: How many noise draws at each.
        seed: Of the noise.
    """

    count: int = 10
    noise_draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, count=self.count, noise_draws=self.noise_draws)

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return self.count, self.noise_draws

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        timesteps = evenly_spaced(self, self.count, request)
        return Draw(timesteps, self.noise(request, timesteps))

    @abstractmethod
    def noise(self, request: Request, timesteps: Tensor) -> Tensor:
        """Return the noise ``[sample, T, S, *sample shape]`` at timesteps ``[sample, T]``."""


class Strided(EvenlySpaced):
    """Timesteps evenly spaced over the schedule: the middles of ``count`` equal stretches.

    Attributes:
        count: How many timesteps.
        noise_draws: How many noise draws at each.
        seed: Noise is a function of (seed, side, sample, checkpoint step, timestep, draw).
    """

    def noise(self, request: Request, timesteps: Tensor) -> Tensor:
        """See ``EvenlySpaced.noise``."""
        return noise_of(request, timesteps, self.noise_draws, self.seed)
