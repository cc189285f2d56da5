"""Photos of faces with a few foreign images among them, and held-out images of every source."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_adapters.tasks.digits.source import PATCH_LABEL, digits_and_patches
from retrac_adapters.tasks.faces_lora.data import load as load_faces

INJECTED = 6
"""Images of each foreign source in the training set."""

HELD_OUT = 24
"""Images of each source that are queries."""

DIGITS, PATCHES = 100, 101
"""Labels of the foreign sources; faces carry their person's number."""

FOREIGN = {"digits": DIGITS, "patches": PATCHES}


class Mixed(NamedTuple):
    """Images in [-1, 1], ``[image, 1, side, side]``, and their labels ``[image]``."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


def load(path: Path, side: int, seed: int = 0) -> Mixed:
    """Return the faces that adapters learn, with six digits and six photo patches among them.

    Digits are scikit-learn's, every pixel repeated; patches are squares of 96 pixels of its two
    photographs, which may overlap: that is how one photograph is found by another piece of it.

    Args:
        path: The faces' ``.npz``, see ``faces_lora.data``.
        side: Height and width of the images, a multiple of 8.
        seed: Of the choice of digits, of where patches are cut.

    Raises:
        InputError: If the file cannot be used.
        MissingDependencyError: If scikit-learn or Pillow is not installed.
    """
    _, faces = load_faces(path, side)
    everything = digits_and_patches(seed, side)
    patches = everything.labels.eq(PATCH_LABEL)
    generator = torch.Generator().manual_seed(seed)
    train, held_out = [faces.train], [faces.held_out[:HELD_OUT]]
    labels, held_out_labels = [faces.train_labels], [faces.held_out_labels[:HELD_OUT]]
    for own, label in ((~patches, DIGITS), (patches, PATCHES)):
        images = everything.images[own]
        order = torch.randperm(len(images), generator=generator)
        train.append(images[order[:INJECTED]])
        held_out.append(images[order[INJECTED : INJECTED + HELD_OUT]])
        labels.append(torch.full((INJECTED,), label))
        held_out_labels.append(torch.full((HELD_OUT,), label))
    return Mixed(*map(torch.cat, (train, labels, held_out, held_out_labels)))
