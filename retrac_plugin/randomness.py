"""Random numbers as a function of what they are for, never of what was drawn before.

A counter-based generator (Philox) is keyed by a tuple of integers. The same key gives the same
numbers whatever the batch size, the order, the number of workers or the device; the normal
transform is written out here, so that it does not change with the version of NumPy either.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Key = tuple[int, ...]
"""What the numbers are for: a seed, a sample's key, a checkpoint, a timestep, ...

Two uses never share a key: they differ in its length, or in a fixed number at a fixed place. In use
are ``(seed, side, sample, step, timestep, position, draw)`` for noise (``draws.noise``), ``(seed,
side, sample, step)`` for timesteps (``draws.uniform``; sides are 1 and 2), ``(seed, 3, timestep,
draw)`` for noise that all samples share (``draws.shared``), each noise with one number more for its
offset, ``(0, 4, timestep, 0)`` for the probe of predictions (``model.outputs``), ``(seed, 5,
sample, 0)`` for what samples are disturbed by (``methods.layer_weights``), ``(seed, 0, id, draw)``
for a recorder's visit (``trace``), and pairs for projections, latents and controls.
"""

SAMPLE_KEY = "sample_key"
"""Field of an example: a whole number below 2**63 that tells what its sample was computed from."""

SCHEME = "philox4x64-boxmuller-1"
"""Names the algorithm below; written into traces so that noise can be rebuilt or refused."""

_TO_UNIT = 2.0**-53


def normal(keys: Sequence[Key], shape: Sequence[int]) -> Tensor:
    """Return standard normal noise ``[key, *shape]`` in float32 on the CPU, one key a row."""
    count = int(np.prod(shape))
    pairs = (count + 1) // 2
    uniforms = _uniforms(keys, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log1p(-uniforms[:, :pairs]))
    angle = 2.0 * np.pi * uniforms[:, pairs:]
    values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.from_numpy(values[:, :count].astype(np.float32)).reshape(len(keys), *shape)


def uniforms(keys: Sequence[Key], count: int) -> Tensor:
    """Return numbers ``[key, count]`` drawn uniformly from ``[0, 1)``, float64 on the CPU."""
    return torch.from_numpy(_uniforms(keys, count))


def content_key(sample: Tensor) -> int:
    """Return a 63-bit key of a sample's values, the same on every device and floating type."""
    values = sample.detach().to("cpu", torch.float32).contiguous().numpy()
    return int.from_bytes(hashlib.blake2b(values.tobytes(), digest_size=8).digest(), "little") >> 1


def _uniforms(keys: Sequence[Key], count: int) -> np.ndarray:
    """Return numbers ``[key, count]`` in [0, 1) with 53 random bits each."""
    raw = np.empty((len(keys), count), dtype=np.uint64)
    for row, key in zip(raw, keys, strict=True):
        digest = hashlib.blake2b(struct.pack(f"<{len(key)}q", *key), digest_size=16).digest()
        row[:] = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * _TO_UNIT
