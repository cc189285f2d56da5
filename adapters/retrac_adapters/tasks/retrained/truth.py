"""A task's ground truth as a small file that ships with the package."""

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

    The queries of ``losses`` are the held-out images, then the generated ones, then the traced
    training images.
    """

    generated: Tensor
    """Pictures ``[query, C, H, W]`` drawn by the model of the whole training set."""
    subsets: Tensor
    """``[subset, train]``, bool."""
    losses: Tensor
    """``[seed, subset, query]``; NaN where a subset was not retrained with a seed."""
    left_out: Tensor | None = None
    """Training images that models were retrained without, one each, ``[image]``."""
    left_out_losses: Tensor | None = None
    """``[seed, image, query]``."""
    rest: Tensor | None = None
    """What is left of the training set without each of some groups, ``[group, train]``, bool."""
    rest_losses: Tensor | None = None
    """``[seed, group, query]``."""
    continued: Tensor | None = None
    """Training images that the recorded run was continued without, one each, ``[image]``."""
    continued_changes: Tensor | None = None
    """How that changed the losses, ``[image, query]``, see ``continuing``."""
    continued_rounding: Tensor | None = None
    """How rounding alone changes them, ``[query]``."""


def shipped(package: str) -> Path:
    """Return where a task's package ships the file."""
    return Path(str(files(package).joinpath(NAME)))


def made_in(directory: Path) -> Path | None:
    """Return the file that regenerating left in a folder, None where it did not, or not yet."""
    path = directory / NAME
    return path if path.is_file() else None


def read(path: Path, task: str) -> Truth:
    """Read what ``write`` wrote.

    Args:
        path: The file.
        task: The task's name, for the message.

    Raises:
        InputError: If it cannot be read, or lacks a part.
    """
    try:
        return Truth(**load_file(path))
    except (SafetensorError, OSError, TypeError) as error:
        raise InputError(
            f"cannot read the ground truth of the task {task} from {str(path)!r}: {error}. "
            f"`retrac benchmark {task} --regenerate` makes it anew"
        ) from error


def write(truth: Truth, path: Path) -> None:
    """Write the file, whole or not at all."""
    known = {name: tensor for name, tensor in truth._asdict().items() if tensor is not None}
    tensors = {name: tensor.contiguous() for name, tensor in known.items()}
    write_atomically(path, lambda file: save_file(tensors, file))
