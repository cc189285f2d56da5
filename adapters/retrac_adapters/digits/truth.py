"""The digits task's ground truth as a small file that ships with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.files import write_atomically

NAME = "ground_truth.safetensors"


class Truth(NamedTuple):
    """What retraining showed.

    The queries of ``losses`` are the held-out digits, then the generated ones, then the traced
    training images.
    """

    generated: Tensor
    """Pictures ``[query, 1, 8, 8]`` drawn by the model of the whole training set."""
    subsets: Tensor
    """``[subset, train]``, bool."""
    losses: Tensor
    """``[seed, subset, query]``; NaN where a subset was not retrained with a seed."""


def shipped() -> Path:
    """Return where the shipped file lies."""
    return Path(str(files("retrac_adapters.digits").joinpath(NAME)))


def read(path: Path) -> Truth:
    """Read what ``write`` wrote.

    Raises:
        InputError: If it cannot be read, or lacks a part.
    """
    try:
        return Truth(**load_file(path))
    except (SafetensorError, OSError, TypeError) as error:
        raise InputError(
            f"cannot read the digits task's ground truth from {str(path)!r}: {error}. "
            "`retrac benchmark digits --regenerate` makes it anew"
        ) from error


def write(truth: Truth, path: Path) -> None:
    """Write the file, whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in truth._asdict().items()}
    write_atomically(path, lambda file: save_file(tensors, file))
