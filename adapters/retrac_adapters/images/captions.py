"""Folders of images, with captions or without, in the order in which training scripts read them.

That is the order of the datasets library's ``imagefolder``: the rows of ``metadata.jsonl`` or
``metadata.csv`` where there is one among the files that are read, else these files themselves.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retrac_adapters.images.folders import Choice, every_file, is_image, visible_files
from retrac_plugin.data.packed import Packed, read_packed
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading

CAPTION_COLUMN, IMAGE_COLUMN = "text", "image"
"""The defaults of ``--caption_column`` and ``--image_column``."""


class Captioned(NamedTuple):
    """An image and what it is said to show."""

    path: Path | Packed
    caption: str


def name_in(image: Path | Packed, folder: Path) -> str:
    """Return what to call an image: its path in a folder, or its name in what it is packed in."""
    return image.relative_to(folder).as_posix() if isinstance(image, Path) else image.name


def read_captioned(
    folder: Path, column: str | None = None, image: str | None = None, ordered: bool = False
) -> list[Captioned]:
    """Read an image folder with captions, as ``data_files={"train": "FOLDER/**"}`` does.

    Args:
        folder: With metadata files, in it or in its subfolders.
        column: Where they keep the captions, by default ``"text"``.
        image: Which image of a row is meant, by default ``"image"``: ``file_name``; any other name
            stands for ``NAME_file_name``.
        ordered: Whether the order matters, since training recorded it; the datasets library
            promises none between several metadata files.

    Raises:
        InputError: If there is no metadata, it lacks a caption or a file, or its order is needed
            and not known.
    """
    packed = read_packed(folder, column, image)
    if packed is not None:
        where, named = f"a sample of {str(folder)!r}", column or CAPTION_COLUMN
        return [
            Captioned(
                row.image, _caption({named: row.caption}, f"{where}, {row.image.name}", named)
            )
            for row in packed
        ]
    tables = _tables(folder, visible_files(folder), ordered)
    if not tables:
        raise InputError(
            f"no captions in {str(folder)!r}: expected a metadata.jsonl or metadata.csv with the "
            f"columns file_name and {column or CAPTION_COLUMN}"
        )
    return [
        Captioned(path, _caption(row, where, column or CAPTION_COLUMN))
        for path, row, where in _rows(tables, image)
    ]


def read_images(
    folder: Path, choice: Choice = every_file, image: str | None = None, ordered: bool = False
) -> Sequence[Path | Packed]:
    """Return the images of a folder as ``imagefolder`` lists them.

    Args:
        folder: Subfolders are read too.
        choice: Which of its files are the training set.
        image: As of ``read_captioned``.
        ordered: Likewise.

    Raises:
        InputError: If there is none, or metadata cannot be read or has no known order.
    """
    packed = _packed(folder, image)
    if packed is not None:
        return packed
    names = choice(visible_files(folder))
    tables = _tables(folder, names, ordered)
    if tables:
        return [path for path, _, _ in _rows(tables, image)]
    return _not_empty(folder, names)


def images_in(folder: Path) -> Sequence[Path | Packed]:
    """Return the images of a folder and its subfolders in the order of their paths.

    Raises:
        InputError: If there is none.
    """
    packed = _packed(folder)
    return _not_empty(folder, visible_files(folder)) if packed is None else packed


def _packed(folder: Path, image: str | None = None) -> list[Packed] | None:
    rows = read_packed(folder, image=image)
    return None if rows is None else [row.image for row in rows]


def _not_empty(folder: Path, names: Sequence[str]) -> list[Path]:
    found = [folder / name for name in names if is_image(name)]
    if not found:
        raise InputError(f"no images in {str(folder)!r}: looked for *.png, *.jpg, ...")
    return found


def _tables(folder: Path, names: Sequence[str], ordered: bool) -> list[Path]:
    """Return the metadata files among some files of a folder."""
    found = [folder / name for name in names if Path(name).name in _READERS]
    if len({path.suffix for path in found}) > 1:
        shown = ", ".join(repr(str(path)) for path in found)
        raise InputError(f"the datasets library refuses metadata of several kinds: {shown}")
    if ordered and len(found) > 1:
        raise InputError(
            f"{str(folder)!r} has {len(found)} metadata files, between which the datasets library "
            "has no fixed order, so which image a recorded id means is not known: training that is "
            "to be recorded needs one file of metadata"
        )
    unread = next((n for n in names if Path(n).suffix == ".zip" or n.endswith(_PARQUET)), None)
    if unread is not None:
        raise InputError(
            f"{str(folder / unread)!r} is not read: unpack archives, and keep metadata as .jsonl"
        )
    return found


def _rows(tables: Sequence[Path], image: str | None) -> list[tuple[Path, Mapping[str, Any], str]]:
    """Return each row's image, the row, and where it stands."""
    return [
        (_file(row, table, where, image or IMAGE_COLUMN), row, where)
        for table in tables
        for number, row in enumerate(_READERS[table.name](table), start=1)
        for where in [f"{str(table)!r}, row {number}"]
    ]


def _file(row: Mapping[str, Any], table: Path, where: str, image: str) -> Path:
    key = f"{image}_file_name"
    name = row.get(key, row.get("file_name") if image == IMAGE_COLUMN else None)
    if not isinstance(name, str):
        wanted = "file_name" if image == IMAGE_COLUMN else key
        raise InputError(f"{where}: expected a {wanted}, got the columns {sorted(map(str, row))}")
    path = table.parent / name
    if not _is_within(path, table.parent):
        raise InputError(f"{where}: no file {name!r} in {str(table.parent)!r}")
    return path


def _is_within(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _caption(row: Mapping[str, Any], where: str, column: str) -> str:
    caption = row.get(column)
    if isinstance(caption, Sequence) and not isinstance(caption, str) and caption:
        caption = caption[0]  # the scripts choose one at random, and this one for validation
    if not isinstance(caption, str):
        raise InputError(
            f"{where}: expected a caption in the column {column!r}, got {caption!r}. The script's "
            f"--caption_column names it: columns are {', '.join(sorted(map(str, row)))}"
        )
    return caption


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    with reading(path, InputError, at_most=TEXT_BYTES):
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{str(path)!r}: expected a JSON object on every line")
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with (
        reading(path, InputError, at_most=TEXT_BYTES),
        path.open(encoding="utf-8", newline="") as file,
    ):
        return list(csv.DictReader(file))


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "metadata.jsonl": _read_jsonl,
    "metadata.csv": _read_csv,
}
_PARQUET = "metadata.parquet"
