"""Image sets that users bring as one ``.npz`` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from retrac_plugin.data.array_files import read_npz
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading

VARIABLE = "RETRAC_SHARED"
"""Environment variable: the folder whose ``data`` folder holds the files."""


def find(path: Path | None, name: str, contents: str) -> Path:
    """Return where a set lies: the path that was given, or where the variable says.

    Args:
        path: What was given.
        name: The file's usual name.
        contents: What it must hold, for the message.

    Raises:
        InputError: If there is no such file.
    """
    shared = os.environ.get(VARIABLE)
    found = path if path is not None or shared is None else Path(shared) / "data" / name
    if found is None or not found.is_file():
        raise InputError(
            f"no {name} at {str(found)!r}: give --data FILE, or set {VARIABLE} to the folder that "
            f"holds data/{name}. Expected an .npz of {contents}"
        )
    return found


def read(path: Path, keys: Sequence[str]) -> list[Any]:
    """Return arrays of an ``.npz`` by key.

    Raises:
        InputError: If the file is damaged or lacks a key.
    """
    with reading(path, InputError, f"{', '.join(keys)} from"):
        held = read_npz(path, keys)
        return [held[key] for key in keys]


def shrunk(pixels: Any, side: int) -> Tensor:
    """Return uint8 images ``[N, H, W, C]`` as ``[N, C, side, side]`` in [-1, 1], areas averaged."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return adaptive_avg_pool2d(images, side)
