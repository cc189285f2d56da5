"""Timesteps drawn as training draws them."""

from __future__ import annotations

from dataclasses import dataclass

from retrac_plugin.draws.draw import Draw, Request, check_positive
from retrac_plugin.draws.noise import SIDES, noise_of
from retrac_plugin.model.distributions import timesteps_at
from retrac_plugin.randomness import uniforms


@dataclass(frozen=True)
class Uniform:
    """Timesteps drawn as training draws them, one noise draw each.

    Uniform in the objective's own measure: over the schedule, or, where the model was given another
    ``timestep_distribution``, by that.

    Attributes:
        count: How many timesteps a sample gets at each checkpoint.
        seed: Timesteps and noise are functions of (seed, side, sample, checkpoint step, draw).
    """

    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, count=self.count)

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return self.count, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        side = SIDES[request.side]
        keys = [(self.seed, side, key, request.step) for key in request.keys]
        timesteps = timesteps_at(
            request.timestep_distribution, uniforms(keys, self.count), request.num_timesteps
        )
        return Draw(timesteps, noise_of(request, timesteps, 1, self.seed))
