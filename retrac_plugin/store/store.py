"""A store: a folder with the training set's rows of some kinds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading, writing
from retrac_plugin.files import write_atomically
from retrac_plugin.store.kind import FILE as KIND_FILE
from retrac_plugin.store.kind import Kind
from retrac_plugin.store.row_types import ROW_TYPES
from retrac_plugin.store.rows import Rows
from retrac_plugin.store.sizes import SHARD_SAMPLES

FILE = "store.json"
FORMAT = 1

_TOLD = ("torch", "diffusers", "retrac-plugin")


@dataclass(frozen=True)
class Store:
    """An opened store.

    Attributes:
        folder: Where it lies.
        row_type: A key of ``ROW_TYPES``: in which numbers rows are kept.
        shard_samples: Samples in a shard.
        versions: Of the packages that made it.
        checked: Kinds of which a row was computed again since it was opened.
    """

    folder: Path
    row_type: str
    shard_samples: int
    versions: dict[str, str]
    checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def create(
        cls, folder: str | Path, row_type: str = "float16", shard_samples: int = SHARD_SAMPLES
    ) -> Store:
        """Make a store, or open the one that is there.

        Args:
            folder: Where.
            row_type: A key of ``ROW_TYPES``.
            shard_samples: Samples in a shard.

        Raises:
            InputError: If there is one that keeps rows otherwise, or an argument is none.
            OutputError: If it cannot be written.
        """
        folder = Path(folder)
        if row_type not in ROW_TYPES:
            raise InputError(f"rows: expected {', '.join(ROW_TYPES)}, got {row_type!r}")
        if shard_samples < 1:
            raise InputError(f"shard samples must be at least 1, got {shard_samples}")
        asked = {"rows": row_type, "shard_samples": shard_samples}
        if (folder / FILE).exists():
            found = cls.open(folder)
            there = {"rows": found.row_type, "shard_samples": found.shard_samples}
            if there != asked:
                raise InputError(
                    f"the store in {str(folder)!r} was made with {_told(there)}, asked for are "
                    f"{_told(asked)}. Give what it has, or another folder"
                )
            return found
        content = {"format": FORMAT, **asked, "versions": versions()}
        text = json.dumps(content, indent=1)
        with writing(folder / FILE):
            write_atomically(folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open a store.

        Raises:
            InputError: If there is none, or it is damaged or of another version.
        """
        path = Path(folder) / FILE
        if not path.exists():
            raise InputError(
                f"no store in {str(folder)!r}: expected a folder that `retrac featurize` wrote"
            )
        with reading(path, InputError, "the store", at_most=TEXT_BYTES):
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise InputError(
                    f"the store in {str(folder)!r} is of format {found['format']}, expected "
                    f"{FORMAT}: make it anew"
                )
            ROW_TYPES[found["rows"]]
            made_with = {str(k): str(v) for k, v in found["versions"].items()}
            size = int(found["shard_samples"])
            if size < 1:
                raise ValueError(f"its shards have {size} samples")
            return cls(Path(folder), found["rows"], size, made_with)

    @classmethod
    def open_or_create(cls, folder: str | Path) -> Store:
        """Open the store that is there, however it keeps rows, or make one.

        Raises:
            InputError: If it is damaged or of another version.
            OutputError: If it cannot be written.
        """
        there = (Path(folder) / FILE).exists()
        return cls.open(folder) if there else cls.create(folder)

    def bytes(self) -> int:
        """Return what it takes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def kinds(self) -> list[Kind]:
        """Return the kinds of rows that there are."""
        return [Kind.load(path.parent) for path in sorted(self.folder.glob(f"*/{KIND_FILE}"))]

    def adding(self, kind: Kind) -> Rows:
        """Return the rows of a kind, to which some may be added.

        Raises:
            OutputError: If it cannot be written.
        """
        folder = self.folder / kind.folder
        if not (folder / KIND_FILE).exists():
            kind.save(folder)
        return self._rows(kind)

    def rows_of(self, kind: Kind) -> Rows:
        """Return the rows of a kind.

        Raises:
            InputError: If there are none, saying in what the most similar ones differ.
        """
        known = self.kinds()
        if kind in known:
            return self._rows(kind)
        nearest = min(known, key=lambda other: len(kind.differences(other)), default=None)
        if nearest is None:
            raise InputError(f"the store in {str(self.folder)!r} is empty: `retrac featurize` it")
        differing = "; ".join(
            f"{name}: {nearest.parts.get(name)} there, {kind.parts.get(name)} asked for"
            for name in kind.differences(nearest)
        )
        raise InputError(
            f"the store in {str(self.folder)!r} has no rows of {kind.label}. The most similar "
            f"ones, {nearest.folder}, differ in {differing}. Run `retrac featurize` with the same "
            "options"
        )

    def _rows(self, kind: Kind) -> Rows:
        return Rows.read(
            self.folder / kind.folder, kind, ROW_TYPES[self.row_type], self.shard_samples
        )


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide rows."""
    return {name: version for name in _TOLD if (version := _version(name))}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _told(options: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())


def check_share(rank: int, world_size: int) -> None:
    """Refuse a process that is none of so many.

    Raises:
        InputError: If ``rank`` is not below ``world_size``.
    """
    if not 0 <= rank < world_size:
        raise InputError(
            f"rank {rank} of {world_size} processes: expected a rank from 0 to the number of "
            "processes minus 1"
        )
