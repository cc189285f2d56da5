"""The digits task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retrac_adapters.tasks.digits.data import PATCH_LABEL, load
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.procedure import whole
from retrac_adapters.tasks.retrained.recipe import CHANNELS, network, recipe_for
from retrac_adapters.tasks.retrained.retraining import Job, random_halves
from retrac_adapters.tasks.retrained.source import Source, jobs_for, subsets_of
from retrac_adapters.tasks.retrained.task import Retrained

EPOCHS = 75
SUBSETS = 64
JOBS = jobs_for(SUBSETS, twice=16)

LEFT_OUT = tuple(range(0, 512, 32))
"""Images that a model is retrained without, one each."""

CONTINUED = tuple(i * 512 // 50 for i in range(50))
"""Images that the recorded run is continued without, one each; the last is a photo patch."""


@dataclass(frozen=True)
class Digits(Source):
    """A ``benchmarks.TaskSource``.

    Attributes:
        epochs: Passes over the training set, of the full model and of those retrained.
        jobs: Which subsets are retrained on, with which seeds.
        left_out: Images that are left out, one at a time.
        continued: Images that the recorded run is continued without, one at a time.
        truth: Where the ground truth lies.
    """

    epochs: int = EPOCHS
    jobs: tuple[Job, ...] = JOBS
    left_out: tuple[int, ...] = LEFT_OUT
    continued: tuple[int, ...] = CONTINUED
    truth: Path = field(default_factory=lambda: truth.shipped("retrac_adapters.tasks.digits"))

    def task(self) -> Retrained:
        """See ``Source.task``."""
        images = load()
        patches = int(images.train_labels.eq(PATCH_LABEL).sum())
        return Retrained(
            name="digits",
            images=images,
            procedure=lambda count, seed: whole(
                recipe_for(count, seed, self.epochs, network(8, 1, CHANNELS))
            ),
            subsets=random_halves(subsets_of(self.jobs), len(images.train)),
            jobs=self.jobs,
            truth=self.truth,
            left_out=self.left_out,
            continued=self.continued,
            about={
                "training set": f"{len(images.train)} images of scikit-learn, 8x8: digits and "
                f"{patches} photo patches"
            },
        )


DIGITS = Digits()
"""What ``retrac benchmark digits`` runs."""
