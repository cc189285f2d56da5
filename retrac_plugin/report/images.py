"""Image tensors as bytes, and as PNG that a page can hold."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}  # channels -> PNG's code for greyscale, for RGB


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

    Written out here, in a dozen lines, so that pages need no imaging library.
    """
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row starts with its filter, 0
    rows[:, 1:] = levels.reshape(height, -1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts)


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


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
