"""Generally influential images: those that most queries' lists name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from retrac_plugin.report.contents import Group, Method

PLACES = 10
"""Length of the lists that are looked at."""


@dataclass(frozen=True)
class Generality:
    """The training images that most queries of one method have in common.

    Attributes:
        places: How many of a query's strongest proponents are looked at: 10, or a tenth of a
            training set of fewer than 100, of which 10 would name too many.
        queries: How many queries there are.
        named: By position, in how many queries' lists an image is: those in more than half.
    """

    places: int
    queries: int
    named: dict[int, int]


def generality(method: Method) -> Generality:
    """Return the images that most queries have in common; none where there are fewer than 3."""
    queries, train = len(method.scores.values), method.scores.num_train
    places = min(PLACES, -(-train // PLACES))
    if queries < 3:
        return Generality(places, queries, {})
    top = method.scores.proponents(places)
    counts = Counter(torch.masked_select(top.indices, top.values > 0).tolist())
    named = {index: count for index, count in counts.most_common() if 2 * count > queries}
    return Generality(places, queries, named)


def generally_influential(methods: Sequence[Method]) -> Group | None:
    """Return the images that most queries of any method have in common, or None."""
    found = {method.name: generality(method) for method in methods}
    members: dict[int, list[str]] = {}
    for name, of_method in found.items():
        for index, count in of_method.named.items():
            members.setdefault(index, []).append(f"{name}: {count} of {of_method.queries} queries")
    if not members:
        return None
    places = next(iter(found.values())).places
    return Group(
        "Generally influential",
        f"Among the {places} strongest proponents of more than half of the pictures: they say "
        "little about any one of them. Often they are images that training met at a timestep with "
        "long gradients, or unlike all others.",
        [(index, "; ".join(texts)) for index, texts in members.items()],
    )
