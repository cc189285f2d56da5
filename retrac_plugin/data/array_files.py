"""NumPy's files, which say in a header how much they hold: what they claim is checked first."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

DEFLATED = 1100
"""More bytes than one compressed byte can stand for."""


def read_npy(path: Path) -> NDArray[Any]:
    """Return an ``.npy``'s array; nothing is unpickled.

    Raises:
        ValueError: If it claims to hold more than it does; NumPy raises others where it is damaged.
    """
    with path.open("rb") as file:
        _check_claim(file, path.stat().st_size)
    return np.asarray(np.load(path, allow_pickle=False))


def read_npz(path: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return those arrays of an ``.npz`` that it holds under ``keys``, or its only one.

    Raises:
        ValueError: If one claims to hold more than it does; others where the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        chosen = list(members) if len(members) == 1 else [key for key in keys if key in members]
        if not chosen:
            raise ValueError(f"holds {sorted(members)}, expected one of {', '.join(keys)}")
        for member in (members[name] for name in chosen):
            if member.file_size > DEFLATED * (member.compress_size + 1):
                raise ValueError(f"{member.filename} claims {member.file_size:,} bytes")
            with archive.open(member) as stream:
                _check_claim(io.BytesIO(stream.read(_HEADER)), member.file_size)
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in chosen}


def _check_claim(file: BinaryIO, size: int) -> None:
    """Refuse an array whose header claims more than a file of ``size`` bytes holds."""
    version = npy.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"is of version {version} of NumPy's format, expected one of 1.0 and 2.0")
    shape, _, dtype = _READERS[version](file)
    claimed = dtype.itemsize
    for length in shape:
        claimed *= length  # in Python's numbers, which do not overflow
    if min(shape, default=0) < 0 or claimed > size:
        raise ValueError(f"claims an array {list(shape)} of {dtype}, and has {size:,} bytes")


_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_HEADER = 2**17
