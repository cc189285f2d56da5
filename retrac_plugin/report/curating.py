"""What a curator looks through: outliers, and pictures that the training set has nearly twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from retrac_plugin.report.contents import Group, Pictures
from retrac_plugin.report.numbers import exponent, score_text, unit_text

SIDE = 16
"""Pixels to which pictures are brought to be compared."""

ALIKE = 0.03
"""Root mean square difference of near-duplicates, of the way from black to white."""


def outliers(values: Tensor, most: int, method: str = "") -> Group:
    """Return the images with the highest self-influence.

    Args:
        values: Self-influence ``[train]``.
        most: How many to return, or all if there are fewer.
        method: That gave the values; by ``training-loss`` they are losses.
    """
    chosen = values.argsort(descending=True, stable=True)[:most].tolist()
    found = values[chosen].tolist()
    power = exponent(found)
    unit = unit_text(power)
    members = [
        (index, score_text(value, power)) for index, value in zip(chosen, found, strict=True)
    ]
    highest = "loss" if method == "training-loss" else "influence on themselves"
    return Group(
        "Outliers",
        f"The {len(members):,} of {len(values):,} training images with the highest {highest}: "
        "outliers, mislabelled and memorised images are found here, and good images that are rare"
        f"{f'. Below each: {unit}' if unit else ''}.",
        members,
    )


def near_duplicates(
    pictures: Pictures, chosen: Sequence[int], names: Sequence[str]
) -> Group | None:
    """Return those of some pictures that are nearly the same as another of them, or None.

    Args:
        pictures: The training images; only those chosen are read.
        chosen: Positions of those to compare.
        names: Of all of them.
    """
    shown = {i: _small(picture) for i in chosen if (picture := pictures[i]) is not None}
    if len(shown) < 2:
        return None
    positions = list(shown)
    flat = torch.stack([shown[i].flatten() for i in positions])
    apart = torch.cdist(flat, flat) / (flat.shape[1] ** 0.5 * 2)  # the range [-1, 1] is 2 wide
    members = [
        (index, f"like {', '.join(names[positions[other]] for other in others)}")
        for row, index in enumerate(positions)
        if (others := [o for o in (apart[row] < ALIKE).nonzero()[:, 0].tolist() if o != row])
    ]
    if not members:
        return None
    return Group(
        "Near-duplicates",
        f"Among the {len(positions):,} pictures listed above, not in the whole training set: "
        f"shrunk to {SIDE} by {SIDE} pixels they differ by less than {ALIKE:.0%} of the way from "
        "black to white. One of each is enough.",
        members,
    )


def _small(picture: Tensor) -> Tensor:
    colours = picture.detach().float().cpu().expand(3, -1, -1)
    return torch.nn.functional.interpolate(colours[None], (SIDE, SIDE), mode="area")[0]
