"""Which files of a folder a training set is, and in which order: as the datasets library reads it.

That order decides which image a recorded id means. It was observed with datasets 5.2, and holds
from 3.4 on: hidden files are left out, paths are in the order of strings, and where
``load_dataset("imagefolder", data_dir=...)`` finds folders or files that are called ``train``,
``test`` or alike, its split ``train`` holds the former alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from retrac_plugin.errors import InputError

Choice = Callable[[Sequence[str]], Sequence[str]]
"""Which of a folder's files, named relative to it, are read, and in which order."""

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words that name a split of a dataset."""

NO_DATA = ("README.md", "config.json", "dataset_info.json", "dataset_infos.json")
"""Files that count neither as data nor as the name of a split."""

SUFFIXES = frozenset(
    [
        ".apng",
        ".bmp",
        ".cur",
        ".dds",
        ".dib",
        ".gif",
        ".ico",
        ".icns",
        ".j2c",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpc",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".pbm",
        ".pcx",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".ras",
        ".rgb",
        ".rgba",
        ".sgi",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
        ".xbm",
        ".xpm",
    ]
)
"""Of the suffixes that ``imagefolder`` takes for images, those of single pictures."""


def visible_files(folder: Path) -> list[str]:
    """Return a folder's files and its subfolders', but hidden ones, ordered as strings.

    So ``a-b.png`` is before ``a/b.png``. Hidden are names that begin with a dot, and what lies in
    folders that begin with two underscores.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not _is_hidden(name))


def every_file(names: Sequence[str]) -> Sequence[str]:
    """All of them: ``data_files={"train": "FOLDER/**"}``, as the text-to-image scripts have it."""
    return names


def train_split(names: Sequence[str]) -> Sequence[str]:
    """The split ``train``: ``data_dir=FOLDER``, as ``train_unconditional.py`` has it.

    A file that two patterns of the split match is read twice, as the library does.

    Raises:
        InputError: If the names tell other splits, but not this one.
    """
    data = [name for name in names if name.rsplit("/", 1)[-1] not in NO_DATA]
    for place in (_IN_FOLDER, _IN_FILE):
        found = {split: _matching(data, words, place) for split, words in SPLITS.items()}
        if found["train"]:
            return found["train"]
        other = next((files[0] for files in found.values() if files), None)
        if other is not None:
            raise InputError(
                f"by the name of {other!r} the datasets library finds splits in the folder, but no "
                "train split, so it is not what the script read: rename that file, or pass the "
                "folder of the training images"
            )
    return data


def is_image(name: str) -> bool:
    """Say whether ``imagefolder`` takes a file for an image: by its last suffix or the one before.

    So ``photo.png.bak`` is one.
    """
    return any(suffix.lower() in SUFFIXES for suffix in Path(name).suffixes[-2:])


_APART = "[-._ 0-9]"
_IN_FOLDER = (
    "(.*/)?{word}/.*",
    "(.*/)?{word}{apart}[^/]*/.*",
    "(.*/)?[^/]*{apart}{word}/.*",
    "(.*/)?[^/]*{apart}{word}{apart}[^/]*/.*",
)
_IN_FILE = ("(.*/)?{word}{apart}[^/]*", "(.*/)?[^/]*{apart}{word}{apart}[^/]*")


def _matching(names: Sequence[str], words: Sequence[str], place: Sequence[str]) -> list[str]:
    """Return the names that a split's patterns match, pattern by pattern."""
    patterns = [re.compile(p.format(word=w, apart=_APART)) for w in words for p in place]
    return [name for pattern in patterns for name in names if pattern.fullmatch(name)]


def _is_hidden(name: str) -> bool:
    *folders, _ = parts = name.split("/")
    return any(part.startswith(".") for part in parts) or any(f.startswith("__") for f in folders)
