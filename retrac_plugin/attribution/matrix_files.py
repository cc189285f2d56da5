"""Matrices that lie in a file and are read and written like memory."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


def mapped_zeros(directory: str | Path, *shape: int, dtype: torch.dtype) -> Tensor:
    """Return zeros in a temporary file under ``directory``, on the CPU.

    The file goes when the tensor does, however the process ends.

    Raises:
        InputError: If the directory does not exist or cannot be written to.
    """
    size = math.prod(shape)
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix="retrac-queries-") as file:
            file.truncate(size * dtype.itemsize)
            # Mapped memory outlives the file's name, which goes when this block ends.
            return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(shape)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"query_store: cannot keep {size * dtype.itemsize:,} bytes in {str(directory)!r}: "
            f"{error}. Expected an existing folder that can be written to"
        ) from error
