"""Evenly spaced timesteps with one noise for everybody."""

from __future__ import annotations

from dataclasses import dataclass

from retrac_plugin.draws.draw import Draw, Request, check_positive
from retrac_plugin.draws.noise import noise_at
from retrac_plugin.draws.strided import evenly_spaced

_EVERYBODY = 3
"""In a key at the place of the side: neither of them."""


@dataclass(frozen=True)
class Shared:
    """The timesteps of ``Strided``, at each of which all samples of both sides get the same noise.

    Two samples are then compared through the same noise, so that what the noise does to their
    gradients is common to them: far fewer draws suffice than with noise of each sample's own. The
    price: every score hangs on these few draws. Scores with another seed, and a standard error over
    such repeats, are right; the spread over the samples of one attribution says nothing of it.

    Attributes:
        count: How many timesteps.
        noise_draws: How many noise draws at each.
        seed: Noise is a function of (seed, timestep, draw), and of no sample, side or checkpoint.
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
        """See ``Draws.draw``; the noise of all samples is one tensor in memory."""
        timesteps = evenly_spaced(self, self.count, request)
        keys = [
            (self.seed, _EVERYBODY, int(t), draw)
            for t in timesteps[0]
            for draw in range(self.noise_draws)
        ]
        once = noise_at(keys, request).reshape(self.count, self.noise_draws, *request.shape)
        return Draw(timesteps, once.expand(len(request.ids), *once.shape))
