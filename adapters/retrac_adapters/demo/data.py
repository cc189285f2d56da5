"""The demo's training set: pieces of three photographs and, as a planted minority, digits.

The photographs come with scikit-learn (china.jpg and flower.jpg, by danielbuechele and vultilion on
Flickr, CC BY 2.0) and matplotlib (Grace Hopper, a work of the US Navy), the digits with
scikit-learn: nothing is downloaded. The set mirrors the one of Xie et al. (2024), 5,000 photographs
followed by 200 handwritten digits: here 1,152 pieces followed by 48 digits, 4% of the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from retrac_plugin.errors import InputError
from retrac_plugin.extras import requires

SIDE = 16
"""Height and width of every image."""

WINDOW = 160
"""Side of the square cut from a photograph before it is shrunk to `SIDE`."""

PIECES_EACH = 384
"""Pieces of each photograph."""

CONTRAST = 0.25
"""Least standard deviation of a colour in a piece; flatter ones (sky, backdrop) are cut anew."""

DIGITS = 48
"""Number of digits: 48 of 1,200 images are 4%."""

PHOTOS = ("temple", "flower", "portrait")
"""What the photographs show; a piece's label is the position of its own."""

DIGIT_LABEL = -1
"""Label of the digits."""

_DIGIT_LEVELS = 16.0


@dataclass(frozen=True)
class DemoData:
    """The demo's training set, pieces first, then digits.

    Attributes:
        images: float32 tensor of shape [N, 3, H, W] with values in [-1, 1].
        labels: int64 tensor of shape [N]: which photograph, -1 for digits.
        names: What each image is: its photograph, and where its window begins there.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]

    @property
    def is_minority(self) -> Tensor:
        """Bool tensor of shape [N], true for digits."""
        return self.labels == DIGIT_LABEL

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each image is a piece of, in a word."""
        return tuple(map(kind, self.labels.tolist()))


def kind(label: int) -> str:
    """Return a label as a word."""
    return "digit" if label == DIGIT_LABEL else PHOTOS[label]


def load(seed: int = 0) -> DemoData:
    """Build the training set; the same seed gives the same set.

    Args:
        seed: Seed of the positions where the pieces are cut.

    Returns:
        The pieces of one photograph after the other, followed by scikit-learn's first digits.

    Raises:
        MissingDependencyError: If scikit-learn, matplotlib or Pillow is not installed.
        InputError: If matplotlib was installed without its sample data.
    """
    rng = np.random.default_rng(seed)
    photos, digits = _read_sources()
    images, labels, names = [], [], []
    for label, photo in enumerate(photos):
        for piece, top, left in _cut(photo, rng):
            images.append(piece)
            labels.append(label)
            names.append(f"{PHOTOS[label]} at {left}, {top}")
    pieces = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return DemoData(
        images=torch.cat([pieces, _enlarged(digits)]).contiguous(),
        labels=torch.tensor(labels + [DIGIT_LABEL] * DIGITS),
        names=(*names, *(f"digit {number}" for number in range(DIGITS))),
    )


def _read_sources() -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Return the three photographs, as bytes, and the first digits (0 to 16)."""
    with requires("the demo", "demo"):
        from matplotlib import cbook
        from PIL import Image
        from sklearn.datasets import load_digits, load_sample_images

    try:
        portrait = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    except FileNotFoundError as error:
        raise InputError(
            f"the demo needs a photograph that comes with matplotlib, and {error.filename!r} is "
            "not there: install matplotlib with its sample data, as pip does"
        ) from error
    photos = [*load_sample_images().images, np.asarray(portrait.convert("RGB"))]
    return photos, load_digits().images[:DIGITS]


def _cut(photo: NDArray[Any], rng: np.random.Generator) -> list[tuple[NDArray[Any], int, int]]:
    """Cut pieces of enough contrast; return each with the top and left of its window."""
    pieces: list[tuple[NDArray[Any], int, int]] = []
    while len(pieces) < PIECES_EACH:
        top, left = (int(rng.integers(length - WINDOW + 1)) for length in photo.shape[:2])
        piece = _shrink(photo[top : top + WINDOW, left : left + WINDOW] / 127.5 - 1)
        if piece.std(axis=(0, 1)).mean() >= CONTRAST:
            pieces.append((piece, top, left))
    return pieces


def _shrink(window: NDArray[Any]) -> NDArray[Any]:
    """Average a square window ``[height, width, colour]`` down to `SIDE` by `SIDE` pixels."""
    block = WINDOW // SIDE
    averaged: NDArray[Any] = window.reshape(SIDE, block, SIDE, block, -1).mean(axis=(1, 3))
    return averaged


def _enlarged(digits: NDArray[Any]) -> Tensor:
    """Bring digits to the size and the three colours of the pieces."""
    grey = torch.from_numpy(digits / _DIGIT_LEVELS * 2 - 1)[:, None].float()
    return interpolate(grey, (SIDE, SIDE), mode="bilinear").clamp(-1, 1).expand(-1, 3, -1, -1)
