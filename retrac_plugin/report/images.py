"""Image tensors as bytes, and as PNG that a page can hold."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from retrac_plugin.extras import requires


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


def data_uri(image: Tensor, largest_side: int) -> str:
    """Return an image ``[channel, height, width]`` in [-1, 1] as a PNG data URI."""
    encoded = base64.b64encode(png(pixels(image, largest_side))).decode("ascii")
    return f"data:image/png;base64,{encoded}"


def _shrunk(image: Tensor, largest_side: int) -> Tensor:
    height, width = image.shape[1:]
    ratio = largest_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    return torch.nn.functional.adaptive_avg_pool2d(image, size)
