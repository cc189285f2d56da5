"""Which samples have rows in a store, and in which shard each lies.

Samples are only ever added: a batch of new ones is a list of its own, cut into shards of a fixed
number, so that no shard that is there is ever written again.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file

from retrac_plugin.attribution.tensor_files import write
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.store.key_list import KeyList


@dataclass(frozen=True)
class RowList:
    """The samples of one kind of row.

    Attributes:
        folder: The folder of the kind.
        lists: The keys of those that came together, in the order in which they came.
    """

    folder: Path
    lists: tuple[KeyList, ...]

    @classmethod
    def read(cls, folder: Path) -> RowList:
        """Read the lists of a folder.

        Raises:
            InputError: If one is damaged or missing.
        """
        count = sum(1 for _ in folder.glob("samples-*.safetensors"))
        return cls(folder, tuple(_read(_path(folder, number)) for number in range(count)))

    def adding(self, keys: Sequence[bytes], lost: Container[bytes] = ()) -> RowList:
        """Return the list with those of some samples that are not in it, after writing that down.

        Whoever adds the same samples, at the same time even, writes the same file.

        Args:
            keys: Of the samples.
            lost: Those that get a new place, though they have one.

        Raises:
            OutputError: If it cannot be written.
        """
        there = self.places
        new = KeyList.of(k for k in dict.fromkeys(keys) if k in lost or k not in there)
        if not new:
            return self
        write(_path(self.folder, len(self.lists)), {"keys": new.tensor()}, {})
        return RowList(self.folder, (*self.lists, new))

    @cached_property
    def places(self) -> dict[bytes, int]:
        """The place of each sample's row, counted over all lists."""
        return {key: place for place, key in enumerate(k for keys in self.lists for k in keys)}

    def shards(self, size: int) -> Iterator[tuple[str, int, KeyList]]:
        """Yield the name of each shard of ``size`` samples, its first place, and its keys."""
        first = 0
        for number, keys in enumerate(self.lists):
            for start in range(0, len(keys), size):
                part = keys[start : start + size]
                yield f"{number:03d}-{start // size:06d}.safetensors", first + start, part
            first += len(keys)


def _path(folder: Path, number: int) -> Path:
    return folder / f"samples-{number:03d}.safetensors"


def _read(path: Path) -> KeyList:
    with reading(path, InputError, "the list of samples"):
        return KeyList.from_tensor(load_file(path)["keys"])
