"""From which distribution training draws its timesteps.

A distribution is a quantile function: it maps numbers that are uniform in [0, 1) to positions in
[0, 1] of the schedule's table, and position ``p`` is timestep ``floor(p * num_timesteps)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

TimestepDistribution = Callable[[Tensor], Tensor]
"""``uniform numbers -> positions``, elementwise, in float64."""


def uniform(uniforms: Tensor) -> Tensor:
    """Every timestep alike: DDPM and most training scripts."""
    return uniforms


def logit_normal(mean: float = 0.0, std: float = 1.0) -> TimestepDistribution:
    """Positions whose logit is normal: Esser et al., arXiv 2403.03206, section 3.1."""
    return lambda uniforms: torch.sigmoid(mean + std * torch.special.ndtri(uniforms))


def mode(scale: float = 1.29) -> TimestepDistribution:
    """Positions with a mode in the middle: Esser et al., arXiv 2403.03206, section 3.1."""
    return lambda u: 1 - u - scale * (torch.cos(math.pi / 2 * u).square() - 1 + u)


def timesteps_at(distribution: TimestepDistribution, uniforms: Tensor, count: int) -> Tensor:
    """Return the timesteps below ``count``, int64, that some uniform numbers stand for."""
    # A position of exactly 1, which rounding can give, has no timestep of its own.
    return (distribution(uniforms) * count).to(torch.int64).clamp(0, count - 1)
