"""The Olivetti faces: many people for a base to learn, a few for an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrac_adapters.images import image_arrays
from retrac_adapters.tasks.retrained.images import REPORTED, Images
from retrac_plugin.errors import InputError

NAME = "olivetti_faces.npz"
KEYS = ("images", "person")
PEOPLE = 40
PICTURES = 10
"""Of each person."""

SUBJECTS = 12
"""The last so many people, whom no base has seen."""

TRAINED = 5
"""An adapter is trained on the first so many pictures of each; the others are held out."""


def find(path: Path | None) -> Path:
    """Return where the data lie, see ``image_arrays.find``.

    Raises:
        InputError: If there is no such file.
    """
    contents = f"uint8 images [{PEOPLE * PICTURES}, 64, 64] and person, {PICTURES} of each"
    return image_arrays.find(path, NAME, contents)


def load(path: Path, side: int) -> tuple[Tensor, Images]:
    """Return the base's pictures ``[N, 1, side, side]``, and those of the people it has not seen.

    Held-out pictures take turns: one of each person, then the next one of each.

    Args:
        path: The ``.npz``.
        side: Height and width that the pictures are shrunk to, by averaging areas.

    Raises:
        InputError: If the file is damaged, lacks a key, or does not hold as many of each person.
    """
    pixels, person = image_arrays.read(path, KEYS)
    people, counts = np.unique(person, return_counts=True)
    if len(people) != PEOPLE or set(counts.tolist()) != {PICTURES}:
        raise InputError(
            f"{str(path)!r} holds {len(people)} people with {counts.min()} to {counts.max()} "
            f"pictures each, expected {PEOPLE} with {PICTURES}"
        )
    order = torch.from_numpy(np.argsort(person, kind="stable")).view(PEOPLE, PICTURES)
    base, own = order[:-SUBJECTS].flatten(), order[-SUBJECTS:]
    train, held_out = own[:, :TRAINED].flatten(), own[:, TRAINED:].T.flatten()
    pictures, labels = image_arrays.shrunk(pixels[..., None], side), torch.from_numpy(person).long()
    images = Images(
        train=pictures[train],
        train_labels=labels[train],
        held_out=pictures[held_out],
        held_out_labels=labels[held_out],
        traced=torch.arange(REPORTED) * len(train) // REPORTED,
    )
    return pictures[base], images


def without_each(labels: Tensor) -> Tensor:
    """Return what is left of a training set without each of its people, ``[person, train]``."""
    people = torch.tensor(sorted(set(labels.tolist())))
    return people[:, None].ne(labels)
