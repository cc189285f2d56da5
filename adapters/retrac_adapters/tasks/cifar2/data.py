"""CIFAR-2: automobiles and horses of CIFAR-10, with D-TRAK's own split and subset rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrac_adapters.images import image_arrays
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION, Images
from retrac_plugin.errors import InputError

NAME = "cifar2_dtrak.npz"
KEYS = ("train_images", "train_labels", "val_images", "val_labels")
SUBSET_SEED = 42
"""Seed of the first subset; each next one's is larger by 2."""


def find(path: Path | None) -> Path:
    """Return where the data lie, see ``image_arrays.find``.

    Raises:
        InputError: If there is no such file.
    """
    contents = (
        "uint8 train_images and val_images [N, 32, 32, 3] with train_labels and val_labels [N], "
        "two classes, in the order of D-TRAK's split"
    )
    return image_arrays.find(path, NAME, contents)


def load(path: Path, of_each: int, side: int) -> Images:
    """Return the first so many images of each class as training set, in the split's order.

    The held-out images are the validation set's first.

    Args:
        path: The ``.npz``.
        of_each: Training images of each class.
        side: Height and width that the images are shrunk to, by averaging areas.

    Raises:
        InputError: If the file is damaged, lacks a key, or holds fewer images.
    """
    train, train_labels, held_out, held_out_labels = image_arrays.read(path, KEYS)
    classes = np.unique(train_labels)
    firsts = [np.flatnonzero(train_labels == label)[:of_each] for label in classes]
    chosen = np.sort(np.concatenate(firsts))
    count = SELECTION + REPORTED
    if len(chosen) < 2 * of_each or len(held_out) < count:
        raise InputError(
            f"{str(path)!r} holds {len(chosen)} of the {2 * of_each} training images wanted, "
            f"{of_each} of each class, and {len(held_out)} of the {count} validation images"
        )
    return Images(
        train=image_arrays.shrunk(train[chosen], side),
        train_labels=torch.from_numpy(train_labels[chosen]).long(),
        held_out=image_arrays.shrunk(held_out[:count], side),
        held_out_labels=torch.from_numpy(held_out_labels[:count]).long(),
        traced=torch.arange(REPORTED) * len(chosen) // REPORTED,
    )


def halves(count: int, labels: Tensor) -> Tensor:
    """Return D-TRAK's random halves of a training set, ``[subset, train]``, bool.

    Args:
        count: How many.
        labels: The training set's classes, which each half holds in equal shares.

    Raises:
        MissingDependencyError: If scikit-learn is not installed.
    """
    from sklearn.model_selection import train_test_split

    members = torch.zeros(count, len(labels), dtype=torch.bool)
    positions = np.arange(len(labels))
    for k, row in enumerate(members):
        half, _ = train_test_split(
            positions,
            train_size=0.5,
            random_state=SUBSET_SEED + 2 * k,
            stratify=labels.numpy(),
        )
        row[torch.from_numpy(half)] = True
    return members
