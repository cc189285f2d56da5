"""The ends of each query's list as records, a line each: for spreadsheets and data frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class Ranked(Protocol):
    """What records are made of: ``Scores``, which makes some itself."""

    @property
    def values(self) -> Tensor:
        """See ``Scores``, like the others."""

    @property
    def train_positions(self) -> Tensor | None:
        """Where each column's sample lies in the training set."""

    @property
    def train_names(self) -> tuple[str, ...]:
        """What each training sample is called."""

    @property
    def query_names(self) -> tuple[str, ...]:
        """What each query is called."""

    def proponents(self, k: int) -> Any:
        """See ``Scores.proponents``."""

    def opponents(self, k: int) -> Any:
        """See ``Scores.opponents``."""


@dataclass(frozen=True)
class TopRecord:
    """One training sample on one query's list.

    Attributes:
        query: Position of the query.
        query_name: What it is called, or nothing.
        side: ``"highest"`` or ``"lowest"``: the end of the list.
        rank: From 1, counted from that end.
        train: Position of the training sample.
        train_name: What it is called, or nothing.
        score: Its score, positive for a proponent.
    """

    query: int
    query_name: str
    side: str
    rank: int
    train: int
    train_name: str
    score: float


def top_records(scores: Ranked, k: int) -> Iterator[TopRecord]:
    """Yield the ``k`` highest and the ``k`` lowest of each query, from the ends inwards.

    Args:
        scores: The scores.
        k: How many at either end.

    Raises:
        InputError: If there are fewer training samples.
    """
    places = scores.train_positions
    ends = {"highest": scores.proponents(k).indices, "lowest": scores.opponents(k).indices}
    for query in range(len(scores.values)):
        for side, indices in ends.items():
            for rank, train in enumerate(indices[query].tolist(), start=1):
                yield TopRecord(
                    query,
                    _name(scores.query_names, query),
                    side,
                    rank,
                    train if places is None else int(places[train]),
                    _name(scores.train_names, train),
                    scores.values[query, train].item(),
                )


def _name(names: tuple[str, ...], position: int) -> str:
    return names[position] if names else ""
