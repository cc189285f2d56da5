"""The rows of one kind: their shards, and the samples that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.attribution.features import Side, joined
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

    def lie_as(self, other: Rows) -> bool:
        """Return whether the rows of each place lie in the same places of a file as another's."""
        return [*map(len, self.samples.lists)] == [*map(len, other.samples.lists)]

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
        return replace(self, samples=samples)

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
        which, sides = zip(*self.parts(places), strict=True)
        whole = joined(sides)
        order = torch.cat(which).argsort()
        return Side(*(values[order] for values in whole))

    def parts(self, places: Tensor, at_once: int | None = None) -> Iterator[tuple[Tensor, Side]]:
        """Yield the same in the order in which they lie: which of ``places``, and their rows.

        Args:
            places: ``[row]``.
            at_once: Rows at a time, at most; default: those of a shard.
        """
        ordered, order = places.sort(stable=True)
        shards = self.shards()
        cuts = torch.searchsorted(ordered, torch.tensor([shard.first for shard in shards])).tolist()
        pieces = zip(shards, pairwise([*cuts, len(ordered)]), strict=True)
        wanted = [(shard, start, stop) for shard, (start, stop) in pieces if stop > start]
        for rows, (shard, first, last) in _read_ahead(wanted):
            for start in range(first, last, at_once or last - first):
                piece = slice(start, min(start + (at_once or last), last))
                yield order[piece], rows.side(_as_slice(ordered[piece] - shard.first))


Wanted = tuple[Shard, int, int]


def _read_ahead(wanted: Sequence[Wanted]) -> Iterator[tuple[ShardRows, Wanted]]:
    """Yield the content of shards; while one is used, the next one is read."""
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(wanted[0][0].read)] if wanted else []
        for number, each in enumerate(wanted):
            rows = coming.pop().result()
            if number + 1 < len(wanted):
                coming.append(reader.submit(wanted[number + 1][0].read))
            yield rows, each


def _as_slice(indices: Tensor) -> slice | Tensor:
    """Return neighbours as a slice, which copies nothing."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first + 1 == len(indices) else indices
