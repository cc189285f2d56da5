"""Picture files as tensors, upright, by what their pixels mean: bytes, 16 bits, or fractions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrac_plugin.data.packed import Packed
from retrac_plugin.errors import InputError, RetracError
from retrac_plugin.errors.guards import reading
from retrac_plugin.extras import requires

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of grey pictures of 16 bits."""

GREY = ("1", "L")


@contextmanager
def opened(path: Path | Packed, extra: str = "report") -> Iterator[Any]:
    """Open a picture with Pillow, turned upright as its EXIF data says.

    Args:
        path: Its file, or where it lies in a larger one.
        extra: The extra that brings Pillow, for the message.

    Raises:
        InputError: If it cannot be read, also while it is used.
        MissingDependencyError: If Pillow is not installed.
    """
    with requires("reading image files", extra):
        from PIL import Image, ImageOps
    if isinstance(path, Path):
        with reading(path, InputError, "the image"), Image.open(path) as image:
            yield ImageOps.exif_transpose(image)
        return
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            yield ImageOps.exif_transpose(image)
    except RetracError:
        raise
    except Exception as problem:  # a damaged file may raise anything
        raise InputError(f"cannot read the image {path.name!r}: {problem}") from problem


def read_picture(path: Path | Packed) -> Tensor:
    """Return a picture ``[C, H, W]`` in [-1, 1], float32: grey ones with one channel, others RGB.

    Black is -1 and white 1, whether a pixel has 8 bits, 16 bits, or is a fraction between 0 and 1.

    Raises:
        InputError: If it cannot be read, or which of its values is white is not known.
    """
    with opened(path) as image:
        if image.mode in SIXTEEN_BITS:
            grey = np.array(image).astype(np.float32) / np.iinfo(np.uint16).max
        elif image.mode in ("F", "I"):
            grey = _fractions(np.array(image), path)
        else:
            pixels = np.array(image.convert("L" if image.mode in GREY else "RGB"))
            return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).float() / 127.5 - 1
    return torch.from_numpy(grey)[None] * 2 - 1


def _fractions(values: Any, path: Path | Packed) -> Any:
    if values.dtype.kind != "f" or not ((values >= 0) & (values <= 1)).all():
        low, high = values.min(), values.max()
        raise InputError(
            f"{path.name!r} holds values of {values.dtype} from {low:g} to {high:g}: expected 8 or "
            "16 bits, or fractions between 0 and 1. Pass an .npy of images as training saw them"
        )
    return values
