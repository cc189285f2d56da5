"""``--timestep_bias_strategy`` of train_text_to_image_sdxl.py: some timesteps more often."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.model.distributions import TimestepDistribution


@dataclass(frozen=True)
class TimestepBias:
    """The script's options; without a bias, all timesteps are as frequent.

    Attributes:
        strategy: ``"later"``, ``"earlier"`` or ``"range"``.
        multiplier: How much more frequent the chosen timesteps are.
        portion: Which share of them ``"later"`` and ``"earlier"`` choose.
        begin: Where ``"range"`` begins.
        end: Where it ends, itself not included.

    Raises:
        InputError: If the strategy is another one, or the multiplier is not positive.
    """

    strategy: str
    multiplier: float = 1.0
    portion: float = 0.25
    begin: int = 0
    end: int = 1000

    def __post_init__(self) -> None:
        if self.strategy not in ("later", "earlier", "range") or not self.multiplier > 0:
            raise InputError(
                f"timestep_bias: expected the strategy later, earlier or range and a positive "
                f"multiplier, got {self.strategy!r} and {self.multiplier}"
            )

    def weights(self, num_timesteps: int) -> Tensor:
        """Return how frequent each timestep is, ``[timestep]``, float64, their sum 1."""
        chosen = int(self.portion * num_timesteps)
        places = {
            "later": slice(-chosen, None),
            "earlier": slice(0, chosen),
            "range": slice(self.begin, self.end),
        }[self.strategy]
        weights = torch.ones(num_timesteps, dtype=torch.float64)
        weights[places] *= self.multiplier
        return weights / weights.sum()

    def over(self, num_timesteps: int) -> TimestepDistribution:
        """Return the distribution over a schedule of so many timesteps."""
        until = self.weights(num_timesteps).cumsum(0)

        def positions(uniforms: Tensor) -> Tensor:
            timesteps = torch.searchsorted(until, uniforms.to(until.dtype), right=True)
            middles = timesteps.clamp(max=num_timesteps - 1).to(uniforms.dtype) + 0.5
            return middles / num_timesteps

        return positions
