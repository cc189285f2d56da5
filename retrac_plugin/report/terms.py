"""How the score of a pair splits over checkpoints and timesteps, as the script is given it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from retrac_plugin.attribution.breakdown_files import Breakdown

DIGITS = 4
"""Decimals of a term, in the units of the scores."""


def terms_of(found: Breakdown | None, query: int, sample: int, power: int) -> dict[str, Any] | None:
    """Return a pair's terms, or None where they were not computed.

    Args:
        found: The breakdown of some pairs, or None.
        query: Position of the query.
        sample: Position of the training sample.
        power: Terms are given in units of ``10 ** power``.

    Returns:
        Texts to name the timesteps, and the terms in the order of these, a list a checkpoint.
    """
    place = None if found is None else found.places.get((query, sample))
    if found is None or place is None:
        return None
    timesteps, order = _named(found.timesteps[place])
    values = found.values[place][:, order].double() / 10.0**power
    return {
        "timesteps": timesteps,
        "values": [[round(term, DIGITS) for term in row] for row in values.tolist()],
    }


def _named(timesteps: Tensor) -> tuple[list[str], list[int]]:
    """Return texts for timesteps ``[checkpoint, timestep]``, and the order to show them in.

    They are numbered where they differ from checkpoint to checkpoint.
    """
    first = timesteps[0]
    if bool((timesteps != first).any()):
        return [f"draw {n}" for n in range(1, len(first) + 1)], [*range(len(first))]
    order = first.argsort().tolist()
    return [f"{first[n].item():g}" for n in order], order
