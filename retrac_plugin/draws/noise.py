"""Noise as a function of (seed, side, sample, checkpoint step, timestep, draw)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from retrac_plugin.draws.draw import Request
from retrac_plugin.randomness import Key, normal

SIDES = {"train": 1, "query": 2}
_OFFSET = 1


def noise_of(request: Request, timesteps: Tensor, draws: int, seed: int) -> Tensor:
    """Return noise ``[sample, T, S, *shape]``; draws at equal timesteps still differ."""
    side = SIDES[request.side]
    keys = [
        (seed, side, key, request.step, int(t), position, draw)
        for key, row in zip(request.keys, timesteps, strict=True)
        for position, t in enumerate(row)
        for draw in range(draws)
    ]
    return noise_at(keys, request).reshape(*timesteps.shape, draws, *request.shape)


def noise_at(keys: Sequence[Key], request: Request) -> Tensor:
    """Return noise ``[key, *shape]`` as training draws it: with its noise offset, where it has one.

    Args:
        keys: What the noise is a function of; no two uses may share a key, see ``randomness``.
        request: Says the shape and the offset.
    """
    noise = normal(keys, request.shape)
    if request.noise_offset:
        noise = noise + request.noise_offset * _channel_noise(keys, request.shape)
    return noise


def _channel_noise(keys: Sequence[Key], shape: torch.Size) -> Tensor:
    """Return one number a channel ``[key, C, 1, ...]``, of other draws than the noise itself."""
    own = [(*key, _OFFSET) for key in keys]
    return normal(own, (*shape[:1], *(1 for _ in shape[1:])))
