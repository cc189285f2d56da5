"""How the training scripts make a square of an image: its shorter side resized, then cropped.

It repeats what torchvision's ``Resize``, ``CenterCrop``, ``ToTensor`` and ``Normalize([0.5],
[0.5])`` do with Pillow's images, to the bit, without needing torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrac_plugin.data.packed import Packed
from retrac_plugin.data.pictures import opened
from retrac_plugin.errors import InputError

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""The values of ``--image_interpolation_mode``."""


@dataclass(frozen=True)
class Framing:
    """A square of an image, from its centre.

    Attributes:
        resolution: Its side, in pixels.
        interpolation: One of ``INTERPOLATIONS``.

    Raises:
        InputError: If the interpolation is none of these.
    """

    resolution: int
    interpolation: str = "lanczos"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"image_interpolation_mode: expected one of {', '.join(INTERPOLATIONS)}, got "
                f"{self.interpolation!r}"
            )

    def read(self, path: Path | Packed) -> Tensor:
        """Return the image ``[3, resolution, resolution]`` in [-1, 1], float32.

        Raises:
            InputError: If it cannot be read.
            MissingDependencyError: If Pillow is not installed.
        """
        with opened(path, "latents") as image:
            upright = image.convert("RGB")
            size = self.resized(upright.size)
            resized = upright.resize(size, self._resampling())
            framed = resized.crop(self.box(size))
        pixels = torch.from_numpy(np.array(framed)).permute(2, 0, 1)
        return (pixels.to(torch.float32) / 255 - 0.5) / 0.5

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height once the shorter of them is ``resolution``."""
        shorter = min(size)
        width, height = (
            self.resolution if length == shorter else int(self.resolution * length / shorter)
            for length in size
        )
        return width, height

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of the square in a resized image."""
        left, top = (round((length - self.resolution) / 2) for length in size)
        return left, top, left + self.resolution, top + self.resolution

    def _resampling(self) -> Any:
        from PIL import Image

        return Image.Resampling[self.interpolation.upper()]
