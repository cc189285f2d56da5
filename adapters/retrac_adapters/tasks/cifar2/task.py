"""The CIFAR-2 task: does a method foretell retraining, on the images of D-TRAK's tables?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retrac_adapters.tasks.cifar2.data import find, halves, load
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.recipe import recipe_for
from retrac_adapters.tasks.retrained.retraining import Job
from retrac_adapters.tasks.retrained.task import Retrained
from retrac_plugin.benchmarks import Task

SUBSETS = 56
TWICE = 8
"""The first subsets are retrained on with a second seed, to know the noise."""

JOBS: tuple[Job, ...] = (
    *((0, subset) for subset in range(SUBSETS)),
    *((1, subset) for subset in range(TWICE)),
)


def _shipped() -> Path:
    return truth.shipped("retrac_adapters.tasks.cifar2")


@dataclass(frozen=True)
class Cifar2:
    """A ``benchmarks.TaskSource``.

    Attributes:
        data: The ``.npz``; None: where ``RETRAC_SHARED`` says.
        of_each: Training images of each class; D-TRAK has 2,500.
        side: Height and width that the images are shrunk to, from 32; the network is made for 8.
        epochs: Passes over the training set, of the full model and of those retrained.
        jobs: Which subsets are retrained on, with which seeds.
        truth: Where the ground truth lies.
    """

    data: Path | None = None
    of_each: int = 512
    side: int = 8
    epochs: int = 50
    jobs: tuple[Job, ...] = JOBS
    truth: Path = field(default_factory=_shipped)

    def prepare(self, directory: Path) -> Task:
        """See ``TaskSource.prepare``."""
        return self.task().prepare(directory)

    def regenerate(self, directory: Path) -> Path:
        """See ``TaskSource.regenerate``."""
        return self.task().regenerate(directory)

    def task(self) -> Retrained:
        """Return the task with its images loaded."""
        images = load(find(self.data), self.of_each, self.side)
        count = 1 + max(subset for _, subset in self.jobs)
        return Retrained(
            name="cifar2",
            images=images,
            recipe=lambda size, seed: recipe_for(size, seed, self.epochs, color_channels=3),
            subsets=halves(count, images.train_labels),
            jobs=self.jobs,
            truth=self.truth,
            about={
                "training set": f"the first {self.of_each} automobiles and as many horses of "
                f"D-TRAK's 2,500 each, shrunk from 32x32 to {self.side}x{self.side}",
                "unlike D-TRAK": "a network of 41 thousand parameters instead of 35.7 million, "
                f"{count} subsets instead of 64, one seed instead of 3, no flips",
            },
        )


CIFAR2 = Cifar2()
"""What ``retrac benchmark cifar2`` runs."""
