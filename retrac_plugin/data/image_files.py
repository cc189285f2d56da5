"""Examples from files: folders of images, NumPy arrays, safetensors. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from retrac_plugin.data.array_files import read_npy, read_npz
from retrac_plugin.data.packed import Packed, read_packed
from retrac_plugin.data.picture_values import Shape, check_shape
from retrac_plugin.data.pictures import read_picture
from retrac_plugin.errors import InputError, UnnamedDataError
from retrac_plugin.errors.guards import reading

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
IMAGE_KEYS = ("sample", "images", "train_images")
"""Under which of these names an archive's images are looked for, where it holds several arrays."""


class FileExamples(Dataset[dict[str, Any]]):
    """Examples that came from files.

    Attributes:
        names: What to call each example: its file's name, or its number.
    """

    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def prepare(self, progress: bool = True) -> None:
        """Do what takes long before the examples can be read, with a progress bar."""

    @property
    def missing(self) -> int:
        """How many examples ``prepare`` has still to work on."""
        return 0

    @property
    def bytes_each(self) -> int:
        """What ``prepare`` leaves on disk for each of them, on average."""
        return 0

    @property
    def prompts(self) -> list[str]:
        """What each example was told in words, or nothing."""
        return []

    def picture(self, index: int) -> Tensor | None:
        """Return what to show of an example.

        Returns:
            ``[channel, height, width]`` in [-1, 1] with 1 or 3 channels; None where the example is
            no picture, as a latent is none.
        """
        sample: Tensor = self[index]["sample"]
        return sample if sample.dim() == 3 and len(sample) in (1, 3) else None

    @property
    def remark(self) -> str:
        """What to know of the examples, in a sentence, or nothing."""
        return ""


class ExampleReader(Protocol):
    """How a run's images become examples."""

    def train(self, path: Path | None, cache: Path, device: torch.device) -> FileExamples:
        """Return the training set.

        Args:
            path: A folder of images or a file of tensors; None for what the run's arguments name.
            cache: Folder for what is computed once.
            device: Where to compute it.
        """

    def queries(
        self, path: Path, prompt: str | None, cache: Path, device: torch.device
    ) -> FileExamples:
        """Return pictures to explain, all of which were generated from ``prompt``."""


class ImageFiles(FileExamples):
    """Image files as tensors ``[C, H, W]`` in [-1, 1]: grey images with one channel, others RGB."""

    def __init__(self, paths: Sequence[Path | Packed], names: list[str]) -> None:
        self.paths, self.names = paths, names

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"sample": read_picture(self.paths[index])}


class Fields(FileExamples):
    """Rows of arrays, ``{field: [example, ...]}``; images of bytes are scaled to [-1, 1]."""

    def __init__(self, fields: dict[str, Tensor]) -> None:
        lengths = {len(values) for values in fields.values()}
        if len(lengths) != 1:
            raise ValueError(f"holds fields of different lengths: {sorted(lengths)}")
        self.fields = fields
        self.names = [str(i) for i in range(len(fields["sample"]))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = {name: values[index] for name, values in self.fields.items()}
        return {**row, "sample": _scaled(row["sample"])}


@dataclass(frozen=True)
class PlainFiles:
    """Reads images as they are, for models that know neither latents nor captions.

    Attributes:
        shape: What the model was made for, ``(channels, height, width)``, or None.
    """

    shape: Shape | None = None

    def train(self, path: Path | None, cache: Path, device: torch.device) -> FileExamples:
        """See ``ExampleReader.train``."""
        if path is None:
            raise UnnamedDataError("the run does not say where its training set is: pass it")
        return check_shape(read_examples(path), self.shape)

    def queries(
        self, path: Path, prompt: str | None, cache: Path, device: torch.device
    ) -> FileExamples:
        """See ``ExampleReader.queries``."""
        if prompt is not None:
            raise InputError(
                f"got the prompt {prompt!r}, but the run brings no text encoder. Pass base=, the "
                "folder of the model that it started from"
            )
        return check_shape(read_examples(path), self.shape)


def read_examples(path: Path) -> FileExamples:
    """Read examples in a fixed order.

    A folder gives its images, sorted by path, subfolders included, hidden files left out; shards
    and tables those that they hold, see ``read_packed``. An ``.npy`` holds images; an ``.npz``
    holds them under one of ``IMAGE_KEYS`` or as its only array. A ``.safetensors`` holds
    ``sample`` and, by name, the denoiser's own arguments. Arrays of images are ``[N, H, W]``,
    ``[N, H, W, C]`` or ``[N, C, H, W]``; bytes become [-1, 1], other numbers stay as they are.

    Raises:
        InputError: If the file is of another kind or holds no images.
        MissingDependencyError: If Pillow is needed and not installed.
    """
    rows = read_packed(path)
    if rows is not None:
        return ImageFiles([row.image for row in rows], [row.image.name for row in rows])
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if _is_shown(p.relative_to(path)))
        if not found:
            raise InputError(f"no images in {str(path)!r}: looked for *.png, *.jpg, ...")
        return ImageFiles(found, [str(one.relative_to(path)) for one in found])
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], [path.name])
    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix)
    if reader is None:
        kinds = ", ".join([*readers, ".tar", ".parquet"])
        raise InputError(f"cannot read {str(path)!r}: expected a folder, an image, or {kinds}")
    with reading(path, InputError):
        return Fields(reader(path))


def _is_shown(path: Path) -> bool:
    """Say whether a file in a folder is an image that is not hidden, as copies and previews are."""
    hidden = any(part.startswith((".", "__")) for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def _read_npy(path: Path) -> dict[str, Tensor]:
    return {"sample": _channels_first(read_npy(path))}


def _read_npz(path: Path) -> dict[str, Tensor]:
    return {"sample": _channels_first(next(iter(read_npz(path, IMAGE_KEYS).values())))}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    fields = load_file(path)
    if "sample" not in fields:
        raise ValueError(f"holds {sorted(fields)}, expected 'sample' among them")
    return fields


def _channels_first(images: NDArray[Any]) -> Tensor:
    """Return images ``[N, C, H, W]``, whichever of the three usual layouts they came in."""
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    if tensor.dim() == 3:
        return tensor[:, None]
    if tensor.dim() != 4:
        raise ValueError(f"expected images [N, H, W(, C)], got an array {list(tensor.shape)}")
    channels_last = tensor.shape[-1] in (1, 3, 4) and tensor.shape[1] not in (1, 3, 4)
    return tensor.permute(0, 3, 1, 2) if channels_last else tensor


def _scaled(image: Tensor) -> Tensor:
    return image.to(torch.float32) / 127.5 - 1 if image.dtype == torch.uint8 else image
