"""How far numbers may lie apart that are the same but for rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

_SMALLEST = 1e-6
"""Even networks in float64 compute some things in float32, such as embeddings of timesteps."""


def relative_tolerance(dtype: torch.dtype) -> float:
    """Return what counts as rounding, of a number of some type."""
    return max(_SMALLEST, 3 * math.sqrt(torch.finfo(dtype).eps))


def losses_agree(found: Tensor, expected: Tensor) -> bool:
    """Whether losses are the same; where one is not finite nothing is known.

    Args:
        found: ``[sample]``.
        expected: ``[sample]``.
    """
    finite = found.isfinite() & expected.isfinite()
    found, expected = found[finite], expected[finite]
    if not len(expected):
        return True
    # Losses that are small beside the others carry the rounding of sums as large as those.
    sizes = expected.abs() + 1e-2 * expected.abs().max()
    return bool(((found - expected).abs() <= relative_tolerance(expected.dtype) * sizes).all())


def wrong_gradients(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return by how much of its norm each wrong parameter's gradient is off, by name."""
    relative = relative_tolerance(next(iter(expected.values())).dtype)
    norms = {name: float(torch.linalg.vector_norm(value)) for name, value in expected.items()}
    floor = relative / 100 * sum(norm**2 for norm in norms.values()) ** 0.5
    errors = {
        name: float(torch.linalg.vector_norm(found[name] - value))
        for name, value in expected.items()
    }
    return {
        name: error / (norms[name] or 1)
        for name, error in errors.items()
        if not error <= relative * norms[name] + floor
    }
