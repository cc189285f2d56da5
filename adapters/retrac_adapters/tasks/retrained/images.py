"""The images of a task whose models are retrained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

SELECTION = 24
"""Queries on which hyper-parameters are chosen, of each kind; never reported."""

REPORTED = 48
"""Queries of each kind that results are reported on."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images in [-1, 1], ``[image, C, H, W]``, and their labels ``[image]``.

    Attributes:
        train: The training set.
        train_labels: Its classes.
        held_out: Images that no model is trained on, ``SELECTION`` and then ``REPORTED`` ones.
        held_out_labels: Their classes.
        traced: Positions in the training set of the queries that are training images.
        minority: Label of a planted minority of the training set, None if there is none.
    """

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    traced: Tensor
    minority: int | None = None

    def in_minority(self, labels: Tensor) -> Tensor | None:
        """Return which labels are the minority's, None if there is none."""
        return None if self.minority is None else labels.eq(self.minority)
