"""How the score of a pair splits over checkpoints and timesteps, as the script is given it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from torch import Tensor

from retrac_plugin.attribution.breakdown_files import Breakdown

LARGEST = 8_000_000
"""A term is told as a whole number up to this, of 3 bytes, in units of its pair's own scale."""

BYTES_EACH = 4
"""Letters that these become."""


def shared_timesteps(found: Breakdown | None) -> list[str]:
    """Return texts for the timesteps in their order, where all pairs have the same ones; or none.

    Only then can the parts of different pairs be compared.
    """
    if found is None or not found.has_shared_timesteps:
        return []
    return _named(found.timesteps[0])[0]


def terms_of(found: Breakdown | None, query: int, sample: int, power: int) -> list[Any] | None:
    """Return a pair's terms, or None where they were not computed.

    Args:
        found: The breakdown of some pairs, or None.
        query: Position of the query.
        sample: Position of the training sample.
        power: Terms are given in units of ``10 ** power``.

    Returns:
        The terms in the order of the timesteps, checkpoint after checkpoint, as 3 bytes each in
        base64; the unit of these whole numbers; and, where ``shared_timesteps`` has none, texts to
        name the timesteps.
    """
    place = None if found is None else found.places.get((query, sample))
    if found is None or place is None:
        return None
    timesteps, order = _named(found.timesteps[place])
    packed = _packed(found.values[place][:, order].double() / 10.0**power)
    return [*packed, *([] if found.has_shared_timesteps else [timesteps])]


def _packed(values: Tensor) -> tuple[str, float]:
    scale = float(f"{float(values.abs().max()) / LARGEST:.3g}") or 1.0
    whole = (values / scale).round().flatten().numpy().astype("<i4")
    low = whole.view(np.uint8).reshape(-1, 4)[:, :3]  # the fourth byte repeats the sign
    return base64.b64encode(low.tobytes()).decode("ascii"), scale


def _named(timesteps: Tensor) -> tuple[list[str], list[int]]:
    """Return texts for timesteps ``[checkpoint, timestep]``, and the order to show them in.

    They are numbered where they differ from checkpoint to checkpoint.
    """
    first = timesteps[0]
    if bool((timesteps != first).any()):
        return [f"draw {n}" for n in range(1, len(first) + 1)], [*range(len(first))]
    order = first.argsort().tolist()
    return [f"{first[n].item():g}" for n in order], order
