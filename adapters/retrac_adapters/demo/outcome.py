"""What the demo found."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.data import DemoData
from retrac_plugin.attribution.breakdown_files import Breakdown


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the demo found.

    Attributes:
        data: The training set.
        run: The training run.
        pictures: The generated pictures ``[16, 3, 16, 16]``.
        labels: What a classifier takes them for, ``[16]``.
        classifier_accuracy: How often it is right on unseen real images.
        scores: Of Diffusion-TracIn and Diffusion-ReTrac.
        breakdowns: How those of the strongest split over checkpoints and timesteps, likewise.
        seconds: Spent on training (0 if there was nothing to train), generating and attributing.
    """

    data: DemoData
    run: retrac.Run
    pictures: Tensor
    labels: Tensor
    classifier_accuracy: float
    scores: list[retrac.Scores]
    breakdowns: list[Breakdown]
    seconds: dict[str, float]
