"""Images that lie in larger files, in their order; each is read when it is asked for, alone.

WebDataset shards, ``.tar`` files in which the members of a sample share a name up to its first dot,
and tables of the datasets library, see ``tables``.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading

CAPTION, IMAGE = "text", "image"
"""Under which names captions and images are kept, unless told otherwise."""

PACKED = (".tar", ".parquet")
"""Suffixes of files that hold many images."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def holds_many(path: Path) -> bool:
    """Say whether a path is of many images: a folder, or a file that they are packed in."""
    return path.is_dir() or path.suffix in PACKED


class Packed(Protocol):
    """An image in a larger file; a ``Path`` of an image has the same."""

    @property
    def name(self) -> str:
        """What to call it."""

    def read_bytes(self) -> bytes:
        """Return its file's content."""


class Row(NamedTuple):
    """One sample."""

    image: Packed
    caption: Any
    """A text; None where there is none."""


@dataclass(frozen=True)
class InTar:
    """An image in a shard.

    Attributes:
        shard: The file.
        name: The shard's name, a slash, and the member's.
        start: Of its bytes in the shard.
        size: How many.
    """

    shard: Path
    name: str
    start: int
    size: int

    def read_bytes(self) -> bytes:
        """See ``Packed.read_bytes``.

        Raises:
            InputError: If the shard has been cut.
        """
        with reading(self.shard, InputError, "the shard"), self.shard.open("rb") as file:
            file.seek(self.start)
            found = file.read(self.size)
            if len(found) != self.size:
                raise ValueError(f"{self.name} has {len(found)} of {self.size} bytes")
        return found


def read_packed(
    path: Path, caption: str | None = None, image: str | None = None
) -> list[Row] | None:
    """Return the samples of packed files in their order, None if a path is of none.

    Shards are read in the order of their names.

    Args:
        path: A ``.tar`` or a folder of such; a ``.parquet``, or a folder of such; or what
            ``Dataset.save_to_disk`` of the datasets library wrote, of several splits ``train``.
        caption: Where captions are: a column, or a field of a shard's ``.json``. Default:
            ``"text"``, and in a shard the ``.txt``.
        image: Which column holds the images. Default: ``"image"``, or the only one with images.

    Raises:
        InputError: If it is damaged, or has no images.
        MissingDependencyError: If tables need a package that is not installed.
    """
    shards = _files(path, ".tar")
    if shards:
        rows = [row for shard in shards for row in _in_shard(shard, caption)]
        if not rows:
            raise InputError(f"no images in {str(path)!r}: looked for {', '.join(SUFFIXES)}")
        return rows
    tables = _files(path, ".parquet")
    if tables or (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        from retrac_plugin.data.tables import read_tables

        return [Row(*one) for one in read_tables(path, tables, caption or CAPTION, image or IMAGE)]
    return None


def _files(path: Path, suffix: str) -> list[Path]:
    """Return the files of a kind: a path itself, or a folder's, if there are no images beside them.

    Of files that are named by splits, as those of the Hub are, that is ``train-...`` alone.
    """
    if not path.is_dir():
        return [path] if path.suffix == suffix else []
    every = [one for one in path.iterdir() if not one.name.startswith((".", "_"))]
    found = sorted(one for one in every if one.suffix == suffix)
    others = [one for one in every if one.is_dir() or one.suffix.lower() in SUFFIXES]
    named = [one for one in found if re.match(r"train(ing)?[-._0-9]", one.name)]
    return [] if others else named or found


def _in_shard(shard: Path, caption: str | None) -> Iterator[Row]:
    with reading(shard, InputError, "the shard"), tarfile.open(shard, "r:") as archive:
        key, members = "", list[tarfile.TarInfo]()
        for member in archive:
            if not member.isfile() or Path(member.name).name.startswith("."):
                continue
            if _key(member) != key:
                yield from _rows(shard, archive, members, caption)
                key, members = _key(member), []
            members.append(member)
        yield from _rows(shard, archive, members, caption)


def _key(member: tarfile.TarInfo) -> str:
    """Return a member's name up to the first dot in its last part."""
    folder, slash, name = member.name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _rows(
    shard: Path, archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], caption: str | None
) -> Iterator[Row]:
    """Yield the sample that some members of one key are: nothing where there is no image."""
    images = [m for m in members if Path(m.name).suffix.lower() in SUFFIXES]
    if len(images) > 1:
        names = ", ".join(image.name for image in images)
        raise InputError(f"{str(shard)!r}: expected one image of a sample, got {names}")
    for image in images:
        packed = InTar(shard, f"{shard.name}/{image.name}", image.offset_data, image.size)
        yield Row(packed, _caption(archive, members, caption))


def _caption(
    archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], field: str | None
) -> Any:
    by_suffix = {Path(member.name).suffix.lower(): member for member in members}
    if field is None and ".txt" in by_suffix:
        return _text(archive, by_suffix[".txt"])
    if ".json" in by_suffix:
        about = json.loads(_text(archive, by_suffix[".json"]))
        return about.get(field or CAPTION) if isinstance(about, dict) else None
    return None


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    if file is None or member.size > TEXT_BYTES:
        raise ValueError(f"{member.name} is no text")
    return file.read().decode("utf-8").removesuffix("\n")
