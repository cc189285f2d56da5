"""CIFAR-MNIST: 5,000 CIFAR-10 airplanes, then 200 MNIST zeros, as the authors' code builds it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from retrac_plugin.errors import InputError

NAME = "cifar_mnist_retrac.npz"
VARIABLE = "RETRAC_SHARED"
"""Environment variable: the folder whose ``data`` folder holds the file."""

KEYS = ("images", "is_mnist")


def find(path: Path | None) -> Path:
    """Return where the data lie: the path that was given, or where the variable says.

    Raises:
        InputError: If there is no such file.
    """
    shared = os.environ.get(VARIABLE)
    found = path if path is not None or shared is None else Path(shared) / "data" / NAME
    if found is None or not found.is_file():
        raise InputError(
            f"no CIFAR-MNIST at {str(found)!r}: give --data FILE, or set {VARIABLE} to the folder "
            f"that holds data/{NAME}. Expected an .npz of uint8 images [N, 32, 32, 3], airplanes "
            "and zeros, and is_mnist [N], true for zeros"
        )
    return found


def load(path: Path, airplanes: int, zeros: int, side: int) -> tuple[Tensor, Tensor]:
    """Return the first so many airplanes and then zeros, shrunk by averaging areas.

    Args:
        path: The ``.npz``.
        airplanes: How many.
        zeros: How many.
        side: Height and width of the images returned.

    Returns:
        Images ``[N, 3, side, side]`` in [-1, 1], and which are zeros ``[N]``.

    Raises:
        InputError: If the file is damaged, lacks a key, or holds fewer images.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            images, is_zero = (file[key] for key in KEYS)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {', '.join(KEYS)} from {str(path)!r}: {error}") from error
    chosen = [np.flatnonzero(is_zero == kind) for kind in (False, True)]
    if len(chosen[0]) < airplanes or len(chosen[1]) < zeros:
        raise InputError(
            f"{str(path)!r} holds {len(chosen[0])} airplanes and {len(chosen[1])} zeros, expected "
            f"at least {airplanes} and {zeros}"
        )
    wanted = np.concatenate([chosen[0][:airplanes], chosen[1][:zeros]])
    pixels = torch.from_numpy(images[wanted]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return adaptive_avg_pool2d(pixels, side), torch.from_numpy(is_zero[wanted]).bool()
