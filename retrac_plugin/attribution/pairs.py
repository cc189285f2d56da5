"""Pairs of a query and a training sample."""

from __future__ import annotations

from collections.abc import Sequence

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.errors import InputError

Pairs = Sequence[tuple[int, int]]
"""``(position of a query, position of a training sample)`` each, of a matrix of scores."""


def check_pairs(pairs: Pairs, train: int, queries: int) -> None:
    """Refuse pairs that are not of so many training samples and queries, or none at all.

    Raises:
        InputError: If there is one, or there are none.
    """
    for query, sample in pairs:
        if not (0 <= query < queries and 0 <= sample < train):
            raise InputError(
                f"pairs: ({query}, {sample}) is outside of {queries} queries and "
                f"{train} training samples"
            )
    if not pairs:
        raise InputError("pairs: expected at least one (query, training sample), got none")


def strongest(scores: Sequence[Scores], k: int) -> list[tuple[int, int]]:
    """Return the pairs of each query and its ``k`` strongest proponents and opponents, once each.

    Args:
        scores: By several methods, of the same samples.
        k: How many of either; all where there are fewer.
    """
    pairs: dict[tuple[int, int], None] = {}
    for each in scores:
        few = min(k, each.values.shape[1])
        for top in (each.proponents(few), each.opponents(few)):
            listed = enumerate(top.indices.tolist())
            pairs.update(dict.fromkeys((query, i) for query, found in listed for i in found))
    return sorted(pairs)
