"""The images of a run whose denoiser works on pixels, framed as its script framed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from retrac_adapters.images.captions import images_in, name_in, read_images
from retrac_adapters.images.folders import is_image, train_split
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.data.image_files import FileExamples, PlainFiles, read_examples
from retrac_plugin.data.packed import Packed, holds_many
from retrac_plugin.data.picture_values import check_shape
from retrac_plugin.errors import UnnamedDataError


class Frame(Protocol):
    """Whatever makes a tensor of an image file."""

    @property
    def resolution(self) -> int:
        """Pixels of a side."""

    def read(self, path: Path | Packed) -> Tensor:
        """Return the image ``[3, side, side]`` in [-1, 1]."""


@dataclass(frozen=True)
class FramedReader:
    """Reads folders of images as ``train_unconditional.py`` does.

    Attributes:
        framing: How the script cropped them.
        arguments: The script's.
        recorded: Whether training recorded ids, so that the order of images must be known.
    """

    framing: Frame
    arguments: Arguments
    recorded: bool = False

    def train(self, path: Path | None, cache: Path, device: torch.device) -> FileExamples:
        """See ``ExampleReader.train``."""
        folder = train_folder(self.arguments) if path is None else path
        if not holds_many(folder):
            return self._read(folder)
        paths = read_images(folder, train_split, ordered=self.recorded)
        return FramedImages(paths, folder, self.framing)

    def queries(
        self, path: Path, prompt: str | None, cache: Path, device: torch.device
    ) -> FileExamples:
        """See ``ExampleReader.queries``."""
        if prompt is not None:
            return PlainFiles().queries(path, prompt, cache, device)
        if holds_many(path):
            return FramedImages(images_in(path), path, self.framing)
        return self._read(path)

    def _read(self, path: Path) -> FileExamples:
        if is_image(path.name):
            return FramedImages([path], path.parent, self.framing)
        side = self.framing.resolution
        return check_shape(read_examples(path), (3, side, side))


class FramedImages(FileExamples):
    """Square images of one size, ``[3, side, side]`` in [-1, 1]."""

    def __init__(self, paths: Sequence[Path | Packed], root: Path, framing: Frame) -> None:
        self.paths, self.framing = paths, framing
        self.names = [name_in(path, root) for path in paths]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"sample": self.framing.read(self.paths[index])}


def train_folder(arguments: Arguments) -> Path:
    """Return the folder that a script was told to train on.

    Raises:
        UnnamedDataError: If it was told none, or it is not there.
    """
    names = ("train_data_dir", "instance_data_dir", "dataset_name")
    known = next((arguments.get(name) for name in names if arguments.get(name)), None)
    if known is None or not Path(known).is_dir():
        told = "no training folder" if known is None else f"{known!r}, which is no folder here"
        raise UnnamedDataError(
            f"the run's arguments name {told}: say where the training set is. A dataset of the Hub "
            "is saved as a folder of images with a metadata.jsonl, its rows in their order"
        )
    return Path(known)
