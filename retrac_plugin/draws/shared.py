"""Evenly spaced timesteps with one noise for everybody."""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.draws.draw import Request
from retrac_plugin.draws.noise import noise_at
from retrac_plugin.draws.strided import EvenlySpaced

_EVERYBODY = 3
"""In a key at the place of the side: neither of them."""


class Shared(EvenlySpaced):
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

    def noise(self, request: Request, timesteps: Tensor) -> Tensor:
        """See ``EvenlySpaced.noise``; that of all samples is one tensor in memory."""
        keys = [
            (self.seed, _EVERYBODY, int(t), draw)
            for t in timesteps[0]
            for draw in range(self.noise_draws)
        ]
        once = noise_at(keys, request).reshape(self.count, self.noise_draws, *request.shape)
        return once.expand(len(request.ids), *once.shape)
