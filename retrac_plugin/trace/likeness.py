"""Whether two samples are the same but for rounding, from a few numbers each.

A hash tells apart what differs in its last bit, as the latent of one image does from one machine to
the next. A likeness is a few sums over parts of a sample, each number with a fixed random sign.
Another image's differ by about its own size; rounding, even to bfloat16, moves them by some
thousandths of it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from retrac_plugin.randomness import uniforms

NUMBERS = 8
"""How many sums a likeness has, besides the sample's size."""

LOOKED_AT = 2**16
"""At how many of a large sample's values a likeness looks, evenly spaced."""

TOLERANCE = 0.02
"""How far those of one image may lie apart, in units of its size."""


def likeness(sample: Tensor) -> Tensor:
    """Return ``NUMBERS`` signed sums of a sample and its root mean square, float32."""
    values = sample.detach().flatten()
    values = values[:: -(-len(values) // LOOKED_AT) or 1].cpu().double()
    padded = torch.nn.functional.pad(values, (0, -len(values) % NUMBERS))
    parts = (padded * _signs(len(padded))).view(-1, NUMBERS)
    return torch.cat(
        [parts.sum(0) / len(parts) ** 0.5, values.square().mean().sqrt()[None]]
    ).float()


def alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two likenesses are of one sample, rounded differently."""
    size = max(float(one[-1]), float(other[-1]))
    return bool(((one - other).abs() <= TOLERANCE * size).all())


@lru_cache(maxsize=4)
def _signs(length: int) -> Tensor:
    """Return ``length`` signs, -1 and 1, always the same."""
    return uniforms([(length,)], length)[0].lt(0.5).to(torch.int8) * 2 - 1
