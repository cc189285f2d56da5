"""Matrices that lie in a file and are read and written like memory."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


def mapped_zeros(directory: str | Path, *shape: int, dtype: torch.dtype) -> Tensor:
    """Return zeros in a temporary file under ``directory``, on the CPU.

    The file goes when the tensor does, however the process ends.

    Raises:
        InputError: If the directory does not exist, cannot be written to, or has no room.
    """
    size = math.prod(shape)
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix="retrac-queries-") as file:
            _reserve(file.fileno(), size * dtype.itemsize)
            # Mapped memory outlives the file's name, which goes when this block ends.
            return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(shape)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"query_store: cannot keep {size * dtype.itemsize:,} bytes in {str(directory)!r}: "
            f"{error}. Expected an existing folder that can be written to and has that much room. "
            "Give max_memory= instead: queries are then taken in blocks"
        ) from error


def _reserve(descriptor: int, size: int) -> None:
    """Give an empty file so many bytes of zeros, all of which the disk has room for.

    A file that is merely made longer takes its room when it is written to, and where the disk is
    full by then, writing to mapped memory kills the process.
    """
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(descriptor, 0, size)
        return
    left, zeros = size, bytes(_CHUNK)
    while left:
        left -= os.write(descriptor, zeros[:left])


_CHUNK = 2**20
