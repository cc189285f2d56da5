"""What the demo found."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.data import DemoData


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the demo found.

    Attributes:
        data: The training set.
        run: The training run.
        pictures: The generated pictures ``[16, 1, 8, 8]``.
        labels: What a classifier takes them for, ``[16]``.
        classifier_accuracy: How often it is right on unseen real images.
        scores: Of Diffusion-TracIn and Diffusion-ReTrac.
        seconds: Spent on training (0 if there was nothing to train), generating and attributing.
    """

    data: DemoData
    run: retrac.Run
    pictures: Tensor
    labels: Tensor
    classifier_accuracy: float
    scores: list[retrac.Scores]
    seconds: dict[str, float]
