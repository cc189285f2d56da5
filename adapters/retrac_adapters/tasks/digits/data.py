"""The digits task's images: a training set with a planted minority, and held-out digits."""

from __future__ import annotations

import torch

from retrac_adapters.tasks.digits.source import PATCH_LABEL, digits_and_patches
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION, Images

__all__ = ["PATCH_LABEL", "load"]

TRAIN_DIGITS = 492
TRAIN_PATCHES = 20
"""Photo patches, 3.9% of the training set's 512 images; their label is -1."""


def load(seed: int = 0) -> Images:
    """Split scikit-learn's digits at random; the same seed gives the same split.

    Raises:
        MissingDependencyError: If scikit-learn or Pillow is not installed.
    """
    everything = digits_and_patches()
    digits = (~everything.is_minority).nonzero()[:, 0]
    patches = everything.is_minority.nonzero()[:, 0]
    order = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))]
    train = torch.cat([order[:TRAIN_DIGITS], patches[:TRAIN_PATCHES]])
    held_out = order[TRAIN_DIGITS : TRAIN_DIGITS + SELECTION + REPORTED]
    return Images(
        train=everything.images[train],
        train_labels=everything.labels[train],
        held_out=everything.images[held_out],
        held_out_labels=everything.labels[held_out],
        traced=torch.arange(REPORTED) * TRAIN_DIGITS // REPORTED,
        minority=PATCH_LABEL,
    )
