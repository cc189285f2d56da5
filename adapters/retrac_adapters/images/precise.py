"""Squares of images at the precision of their files: ``--preserve_input_precision``.

It repeats what torchvision's ``PILToTensor``, ``ConvertImageDtype`` and its transforms of tensors
do, which resize numbers rather than bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from retrac_adapters.images.framing import Framing
from retrac_plugin.data.packed import Packed
from retrac_plugin.data.pictures import opened


@dataclass(frozen=True)
class PreciseFraming:
    """A square of an image, from its centre, resized bilinearly.

    Attributes:
        resolution: Its side, in pixels.
    """

    resolution: int

    def read(self, path: Path | Packed) -> Tensor:
        """Return the image ``[3, resolution, resolution]`` in [-1, 1], float32.

        Raises:
            InputError: If it cannot be read.
            MissingDependencyError: If Pillow is not installed.
        """
        frame = Framing(self.resolution, "bilinear")
        with opened(path) as image:
            pixels = np.array(image.convert("RGB") if image.mode == "P" else image)
        values = _fractions(torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1))
        height, width = values.shape[1:]
        size = frame.resized((width, height))
        resized = interpolate(_three(values)[None], size[::-1], mode="bilinear", antialias=True)
        left, top, right, bottom = frame.box(size)
        return (resized[0, :, top:bottom, left:right] - 0.5) / 0.5


def _fractions(pixels: Tensor) -> Tensor:
    """Return integers by the share of their type's largest, other numbers as they are."""
    if pixels.is_floating_point():
        return pixels.float()
    largest = 1 if pixels.dtype == torch.bool else torch.iinfo(pixels.dtype).max
    return pixels.float() / largest


def _three(channels: Tensor) -> Tensor:
    """Return three channels: one three times, of two the first again, of more the first three."""
    taken = {1: [0, 0, 0], 2: [0, 1, 0]}.get(channels.shape[0], [0, 1, 2])
    return channels[taken]
