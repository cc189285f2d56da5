"""Folders of images with captions, in the order in which the training scripts read them.

That is the order of the datasets library's ``imagefolder``, version 3.4 or later: the rows of
``metadata.jsonl`` or ``metadata.csv`` where there is one, else the files in the order of their
paths. Hidden files are left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

from retrac_plugin.data.image_files import IMAGE_SUFFIXES
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading

CAPTION_COLUMN = "text"
"""The default of ``--caption_column``."""


class Captioned(NamedTuple):
    """An image and what it is said to show."""

    path: Path
    caption: str


def read_captioned(folder: Path, column: str | None = None) -> list[Captioned]:
    """Read an image folder with captions.

    Args:
        folder: With metadata files, in it or in its subfolders; several of them in the order of
            their paths, though the datasets library promises none.
        column: Where they keep the captions, by default ``"text"``.

    Raises:
        InputError: If there is no metadata, or it lacks a caption or a file.
    """
    tables = [path for path in _visible(folder) if path.name in _READERS]
    if not tables:
        raise InputError(
            f"no captions in {str(folder)!r}: expected a metadata.jsonl or metadata.csv with the "
            f"columns file_name and {column or CAPTION_COLUMN}"
        )
    return [
        _captioned(row, table, f"{str(table)!r}, row {number}", column or CAPTION_COLUMN)
        for table in tables
        for number, row in enumerate(_READERS[table.name](table), start=1)
    ]


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder and its subfolders in the order of their paths.

    Raises:
        InputError: If there is none.
    """
    found = [path for path in _visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(f"no images in {str(folder)!r}: looked for *.png, *.jpg, ...")
    return found


def _visible(folder: Path) -> list[Path]:
    """Return all files but hidden ones, ordered as strings: ``a-b.png`` before ``a/b.png``."""
    files = (path for path in folder.rglob("*") if path.is_file())
    relative = sorted(path.relative_to(folder).as_posix() for path in files)
    return [folder / name for name in relative if not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in name.split("/"))


def _captioned(row: Mapping[str, Any], table: Path, where: str, column: str) -> Captioned:
    name, caption = row.get("file_name", row.get("image_file_name")), row.get(column)
    if not isinstance(name, str):
        raise InputError(f"{where}: expected a file_name, got the columns {sorted(map(str, row))}")
    if isinstance(caption, Sequence) and not isinstance(caption, str) and caption:
        caption = caption[0]  # the scripts choose one at random, and this one for validation
    if not isinstance(caption, str):
        raise InputError(
            f"{where}: expected a caption in the column {column!r}, got {caption!r}. The script's "
            f"--caption_column names it: columns are {', '.join(sorted(map(str, row)))}"
        )
    path = table.parent / name
    # os.path takes a name that no file can have for one of a file that is not there.
    if not isfile(path) or not path.resolve().is_relative_to(table.parent.resolve()):  # noqa: PTH113
        raise InputError(f"{where}: no file {name!r} in {str(table.parent)!r}")
    return Captioned(path, caption)


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


_READERS = {"metadata.jsonl": _read_jsonl, "metadata.csv": _read_csv}
