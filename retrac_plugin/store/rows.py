"""The rows of one kind: their shards, and the samples that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.attribution.features import Side
from retrac_plugin.errors import InputError
from retrac_plugin.store.kind import Kind
from retrac_plugin.store.row_list import RowList
from retrac_plugin.store.row_types import RowType
from retrac_plugin.store.shards import Shard, ShardRows


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a kind.

    Attributes:
        folder: Where they lie.
        kind: What they are.
        row_type: How they are kept.
        shard_samples: Samples in a shard.
        samples: Whose rows they are.
    """

    folder: Path
    kind: Kind
    row_type: RowType
    shard_samples: int
    samples: RowList
    _at_hand: dict[int, ShardRows] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, folder: Path, kind: Kind, row_type: RowType, shard_samples: int) -> Rows:
        """Read which rows there are.

        Raises:
            InputError: If a list of samples is damaged.
        """
        return cls(folder, kind, row_type, shard_samples, RowList.read(folder))

    def shards(self) -> list[Shard]:
        """Return all shards, those that are not there yet included, in the order of places."""
        digest = self.kind.digest
        return [
            Shard(self.folder / name, digest, first, keys, self.row_type)
            for name, first, keys in self.samples.shards(self.shard_samples)
        ]

    def adding(self, keys: Sequence[bytes]) -> Rows:
        """Return the rows with room for some more samples.

        A sample whose shard is not there, and cannot be computed any more since others of its
        samples are gone, gets a new place.

        Args:
            keys: Those of the training set.
        """
        now = set(keys)
        lost = {
            key
            for shard in self.shards()
            if not (shard.path.exists() or now.issuperset(shard.keys))
            for key in shard.keys
        }
        samples = self.samples.adding(keys, lost)
        return replace(self, samples=samples, _at_hand={})

    def places(self, keys: Sequence[bytes]) -> Tensor:
        """Return the place of each sample's row, ``[sample]``, int64.

        Raises:
            InputError: If a sample has none.
        """
        known = self.samples.places
        absent = [position for position, key in enumerate(keys) if key not in known]
        if absent:
            raise InputError(
                f"{len(absent)} of {len(keys)} training samples have no rows in "
                f"{str(self.folder)!r}, the first of them number {absent[0]}. `retrac featurize` "
                "with the same options computes these alone"
            )
        return torch.tensor([known[key] for key in keys])

    def side(self, places: Tensor) -> Side:
        """Return rows at some places, in float32 and in that order.

        Raises:
            InputError: If a shard is missing or damaged.
        """
        parts = [(where, side) for where, side in self.parts(places)]
        order = torch.cat([where for where, _ in parts]).argsort()
        whole = Side(*map(torch.cat, zip(*(side for _, side in parts), strict=True)))
        return Side(*(values[order] for values in whole))

    def parts(self, places: Tensor, at_once: int | None = None) -> Iterator[tuple[Tensor, Side]]:
        """Yield the same in the order in which they lie: which of ``places``, and their rows.

        Args:
            places: ``[row]``.
            at_once: Rows at a time, at most; default: those of a shard.
        """
        ordered, order = places.sort(stable=True)
        shards = self.shards()
        firsts = torch.tensor([shard.first for shard in shards])
        numbers = torch.searchsorted(firsts, ordered, right=True) - 1
        for number in dict.fromkeys(numbers.tolist()):
            own = (numbers == number).nonzero().flatten()
            rows = self._read(number, shards[number])
            for start in range(0, len(own), at_once or len(own)):
                piece = own[start : start + (at_once or len(own))]
                within = ordered[piece] - shards[number].first
                yield order[piece], rows.side(_as_slice(within))

    def _read(self, number: int, shard: Shard) -> ShardRows:
        if number not in self._at_hand:
            self._at_hand.clear()  # one at a time: they are mapped, and let go
            self._at_hand[number] = shard.read()
        return self._at_hand[number]


def _as_slice(indices: Tensor) -> slice | Tensor:
    """Return neighbours as a slice, which copies nothing."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first + 1 == len(indices) else indices


def missing(shards: Iterable[Shard]) -> list[Shard]:
    """Return those of some shards that are not there."""
    return [shard for shard in shards if not shard.path.exists()]
