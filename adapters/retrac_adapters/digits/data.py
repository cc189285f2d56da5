"""The digits task's images: a training set with a planted minority, and held-out digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_adapters.demo import data as demo_data
from retrac_adapters.demo.data import PATCH_LABEL

__all__ = ["PATCH_LABEL", "REPORTED", "SELECTION", "DigitsData", "load"]

TRAIN_DIGITS = 492
TRAIN_PATCHES = 20
"""Photo patches, 3.9% of the training set's 512 images."""

SELECTION = 24
"""Queries on which hyper-parameters are chosen, of each kind; never reported."""

REPORTED = 48
"""Queries of each kind that results are reported on."""


@dataclass(frozen=True, eq=False)
class DigitsData:
    """Images in [-1, 1], ``[image, 1, 8, 8]``, and their labels ``[image]``.

    Attributes:
        train: 492 digits, then 20 photo patches.
        train_labels: 0 to 9; -1 for patches.
        held_out: Digits that no model is trained on, ``SELECTION`` and then ``REPORTED`` ones.
        held_out_labels: 0 to 9.
        traced: Positions in the training set of the queries that are training images.
    """

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    traced: Tensor


def load(seed: int = 0) -> DigitsData:
    """Split scikit-learn's digits at random; the same seed gives the same split.

    Raises:
        MissingDependencyError: If scikit-learn or Pillow is not installed.
    """
    everything = demo_data.load()
    digits = (~everything.is_minority).nonzero()[:, 0]
    patches = everything.is_minority.nonzero()[:, 0]
    order = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))]
    train = torch.cat([order[:TRAIN_DIGITS], patches[:TRAIN_PATCHES]])
    held_out = order[TRAIN_DIGITS : TRAIN_DIGITS + SELECTION + REPORTED]
    return DigitsData(
        train=everything.images[train],
        train_labels=everything.labels[train],
        held_out=everything.images[held_out],
        held_out_labels=everything.labels[held_out],
        traced=torch.arange(REPORTED) * TRAIN_DIGITS // REPORTED,
    )
