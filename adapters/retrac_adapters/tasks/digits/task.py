"""The digits task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retrac_adapters.tasks.digits.data import PATCH_LABEL, load
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.recipe import recipe_for
from retrac_adapters.tasks.retrained.retraining import Job, random_halves
from retrac_adapters.tasks.retrained.task import Retrained
from retrac_plugin.benchmarks import Task

EPOCHS = 75
SUBSETS = 64
TWICE = 16
"""The first subsets are retrained on with a second seed, to know the noise."""

JOBS: tuple[Job, ...] = (
    *((0, subset) for subset in range(SUBSETS)),
    *((1, subset) for subset in range(TWICE)),
)


LEFT_OUT = tuple(range(0, 512, 32))
"""Images that a model is retrained without, one each."""


def _shipped() -> Path:
    return truth.shipped("retrac_adapters.tasks.digits")


@dataclass(frozen=True)
class Digits:
    """A ``benchmarks.TaskSource``.

    Attributes:
        epochs: Passes over the training set, of the full model and of those retrained.
        jobs: Which subsets are retrained on, with which seeds.
        left_out: Images that are left out, one at a time.
        truth: Where the ground truth lies.
    """

    epochs: int = EPOCHS
    jobs: tuple[Job, ...] = JOBS
    left_out: tuple[int, ...] = LEFT_OUT
    truth: Path = field(default_factory=_shipped)

    def prepare(self, directory: Path) -> Task:
        """See ``TaskSource.prepare``."""
        return self.task().prepare(directory)

    def regenerate(self, directory: Path) -> Path:
        """See ``TaskSource.regenerate``."""
        return self.task().regenerate(directory)

    def task(self) -> Retrained:
        """Return the task with its images loaded."""
        images = load()
        patches = int(images.train_labels.eq(PATCH_LABEL).sum())
        return Retrained(
            name="digits",
            images=images,
            recipe=lambda count, seed: recipe_for(count, seed, self.epochs),
            subsets=random_halves(1 + max(subset for _, subset in self.jobs), len(images.train)),
            jobs=self.jobs,
            truth=self.truth,
            left_out=self.left_out,
            about={
                "training set": f"{len(images.train)} images of scikit-learn, 8x8: digits and "
                f"{patches} photo patches"
            },
        )


DIGITS = Digits()
"""What ``retrac benchmark digits`` runs."""
