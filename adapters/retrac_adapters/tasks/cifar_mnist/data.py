"""CIFAR-MNIST: 5,000 CIFAR-10 airplanes, then 200 MNIST zeros, as the authors' code builds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrac_adapters.images import image_arrays
from retrac_plugin.errors import InputError

NAME = "cifar_mnist_retrac.npz"
KEYS = ("images", "is_mnist")


def find(path: Path | None) -> Path:
    """Return where the data lie, see ``image_arrays.find``.

    Raises:
        InputError: If there is no such file.
    """
    contents = "uint8 images [N, 32, 32, 3], airplanes and zeros, and is_mnist [N], true for zeros"
    return image_arrays.find(path, NAME, contents)


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
    images, is_zero = image_arrays.read(path, KEYS)
    chosen = [np.flatnonzero(is_zero == kind) for kind in (False, True)]
    if len(chosen[0]) < airplanes or len(chosen[1]) < zeros:
        raise InputError(
            f"{str(path)!r} holds {len(chosen[0])} airplanes and {len(chosen[1])} zeros, expected "
            f"at least {airplanes} and {zeros}"
        )
    wanted = np.concatenate([chosen[0][:airplanes], chosen[1][:zeros]])
    return image_arrays.shrunk(images[wanted], side), torch.from_numpy(is_zero[wanted]).bool()
