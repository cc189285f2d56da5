"""Image tensors as bytes, and as files that a page can hold."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from retrac_plugin.extras import requires

BLOCKS_BELOW = 64
"""Pixels of a side: smaller pictures are shown as sharp blocks, larger ones smoothed."""

_KINDS = {b"\x89PNG": "png", b"RIFF": "webp", b"\xff\xd8": "jpeg"}


def pixels(image: Tensor, largest_side: int) -> NDArray[Any]:
    """Return an image as bytes, shrunk if it is too large.

    Args:
        image: ``[channel, height, width]`` in [-1, 1]; values outside are clipped.
        largest_side: Height and width are brought to this at most, averaging areas.

    Returns:
        uint8 ``[height, width, channel]``.
    """
    image = _shrunk(image.detach().float().cpu(), largest_side)
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().numpy()


def png(levels: NDArray[Any]) -> bytes:
    """Encode uint8 ``[height, width, channel]``, with 1 or 3 channels, as PNG.

    Raises:
        MissingDependencyError: If Pillow is not installed.
    """
    with requires("a page with images", "report"):
        from PIL import Image
    file = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(file, "PNG")
    return file.getvalue()


def webp(levels: NDArray[Any]) -> bytes:
    """Encode uint8 ``[height, width, channel]`` as WebP, or as JPEG where Pillow lacks it.

    Raises:
        MissingDependencyError: If Pillow is not installed.
    """
    with requires("a page with images", "report"):
        from PIL import Image, features
    file = io.BytesIO()
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    image.convert("RGB").save(
        file, "WEBP" if features.check("webp") else "JPEG", quality=80, method=2
    )
    return file.getvalue()


def is_small(image: Tensor) -> bool:
    """Say whether a picture is so small that its pixels are shown as sharp blocks."""
    return max(image.shape[1:]) < BLOCKS_BELOW


def data_uri(image: Tensor, largest_side: int) -> str:
    """Return an image ``[channel, height, width]`` in [-1, 1] as a data URI.

    Small ones are PNG, with every pixel as it is; larger ones WebP, a tenth of its size.
    """
    levels = pixels(image, largest_side)
    return as_uri(png(levels) if is_small(image) else webp(levels))


def as_uri(data: bytes) -> str:
    """Return the bytes of a PNG, WebP or JPEG file as a data URI."""
    kind = next(kind for start, kind in _KINDS.items() if data.startswith(start))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _shrunk(image: Tensor, largest_side: int) -> Tensor:
    height, width = image.shape[1:]
    ratio = largest_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    return torch.nn.functional.adaptive_avg_pool2d(image, size)
