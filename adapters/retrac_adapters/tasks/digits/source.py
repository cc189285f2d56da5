"""Small digits and, as a planted minority, patches of two photographs.

Everything comes with scikit-learn, so nothing is downloaded. The set mirrors the one of Xie et al.
(2024), 5,000 images of one kind followed by 200 of a wholly different kind: here 1,797 digits
followed by 75 photo patches, 4% of the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrac_plugin.extras import requires

SIDE = 8
"""Height and width of scikit-learn's digits, and of every image unless told otherwise."""

PATCH_COUNT = 75
"""Number of photo patches: 75 of 1,872 images are 4%."""

PATCH_WINDOW = 96
"""Side of the square cut from a photograph before it is shrunk to `SIDE`."""

PATCH_CONTRAST = 0.2
"""Least standard deviation of a shrunk patch; flatter ones (sky, backdrop) are cut anew."""

PATCH_LABEL = -1
"""Label of the patches; the digits carry 0 to 9."""

_DIGIT_LEVELS = 16.0
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class DigitsAndPatches:
    """Digits first, then patches.

    Attributes:
        images: float32 tensor of shape [N, 1, H, W] with values in [-1, 1].
        labels: int64 tensor of shape [N]: 0 to 9 for digits, -1 for patches.
        is_minority: bool tensor of shape [N], true for patches.
    """

    images: Tensor
    labels: Tensor
    is_minority: Tensor


def digits_and_patches(seed: int = 0, side: int = SIDE) -> DigitsAndPatches:
    """Build the set; the same seed gives the same set.

    Args:
        seed: Seed of the positions where the patches are cut.
        side: Height and width of the images, a multiple of 8 that divides 96: a digit's pixels are
            repeated, patches shrunk less.

    Returns:
        The digits in scikit-learn's order, followed by the patches.

    Raises:
        MissingDependencyError: If scikit-learn, or Pillow for its photographs, is not installed.
    """
    digits, digit_labels, photos = _read_sources()
    larger = np.kron(digits, np.ones((side // SIDE, side // SIDE)))
    greys = [_greyscale(photo) for photo in photos]
    patches = _cut_patches(greys, np.random.default_rng(seed), side)
    images = np.concatenate([larger / _DIGIT_LEVELS * 2 - 1, patches]).astype(np.float32)
    labels = np.concatenate([digit_labels, np.full(len(patches), PATCH_LABEL)]).astype(np.int64)
    return DigitsAndPatches(
        images=torch.from_numpy(images).unsqueeze(1),
        labels=torch.from_numpy(labels),
        is_minority=torch.from_numpy(labels == PATCH_LABEL),
    )


def _read_sources() -> tuple[NDArray[Any], NDArray[Any], list[NDArray[Any]]]:
    """Return the digits (0 to 16), their labels and the two colour photographs."""
    with requires("the digits task", "demo"):
        from sklearn.datasets import load_digits, load_sample_images

        digits = load_digits()
        photos = load_sample_images().images  # reads them with Pillow
    return digits.images, digits.target, list(photos)


def _greyscale(photo: NDArray[Any]) -> NDArray[Any]:
    """Turn a colour photograph of bytes into its brightness, scaled to [-1, 1]."""
    brightness: NDArray[Any] = photo.astype(np.float64) @ np.array(_LUMA)
    return brightness / 127.5 - 1


def _cut_patches(photos: list[NDArray[Any]], rng: np.random.Generator, side: int) -> NDArray[Any]:
    """Cut `PATCH_COUNT` patches of enough contrast, from each photograph in turn."""
    patches: list[NDArray[Any]] = []
    while len(patches) < PATCH_COUNT:
        photo = photos[len(patches) % len(photos)]
        top, left = (int(rng.integers(length - PATCH_WINDOW + 1)) for length in photo.shape)
        patch = _shrink(photo[top : top + PATCH_WINDOW, left : left + PATCH_WINDOW], side)
        if patch.std() >= PATCH_CONTRAST:
            patches.append(patch)
    return np.stack(patches)


def _shrink(window: NDArray[Any], side: int) -> NDArray[Any]:
    """Average a square window down to ``side`` by ``side`` pixels."""
    block = PATCH_WINDOW // side
    averaged: NDArray[Any] = window.reshape(side, block, side, block).mean(axis=(1, 3))
    return averaged
