"""The CIFAR-2 task: does a method predict retraining, on the images of D-TRAK's tables?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retrac_adapters.tasks.cifar2.data import find, halves, load
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.procedure import whole
from retrac_adapters.tasks.retrained.recipe import CHANNELS, network, recipe_for
from retrac_adapters.tasks.retrained.retraining import Job
from retrac_adapters.tasks.retrained.source import Source, jobs_for, subsets_of
from retrac_adapters.tasks.retrained.task import Retrained

SUBSETS = 56
JOBS = jobs_for(SUBSETS, twice=8)


LARGER_SUBSETS = 64
LARGER_JOBS = jobs_for(LARGER_SUBSETS, twice=16)


def _shipped(name: str = truth.NAME) -> Path:
    return truth.shipped("retrac_adapters.tasks.cifar2").with_name(name)


@dataclass(frozen=True)
class Cifar2(Source):
    """A ``benchmarks.TaskSource``.

    Attributes:
        name: What users type.
        data: The ``.npz``; None: where ``RETRAC_SHARED`` says.
        of_each: Training images of each class; D-TRAK has 2,500.
        side: Height and width that the images are shrunk to, from 32.
        channels: Of the network's levels.
        epochs: Passes over the training set, of the full model and of those retrained.
        jobs: Which subsets are retrained on, with which seeds.
        truth: Where the ground truth lies.
    """

    name: str = "cifar2"
    data: Path | None = None
    of_each: int = 512
    side: int = 8
    channels: tuple[int, ...] = CHANNELS
    epochs: int = 50
    jobs: tuple[Job, ...] = JOBS
    truth: Path = field(default_factory=_shipped)

    def task(self) -> Retrained:
        """See ``Source.task``."""
        images = load(find(self.data), self.of_each, self.side)
        count, layers = subsets_of(self.jobs), network(self.side, 3, self.channels)
        return Retrained(
            name=self.name,
            images=images,
            procedure=lambda size, seed: whole(recipe_for(size, seed, self.epochs, layers)),
            subsets=halves(count, images.train_labels),
            jobs=self.jobs,
            truth=self.truth,
            about={
                "training set": f"the first {self.of_each} automobiles and as many horses of "
                f"D-TRAK's 2,500 each, shrunk from 32x32 to {self.side}x{self.side}",
                "unlike D-TRAK": "a far smaller network than its 35.7 million parameters, "
                f"{count} subsets instead of 64, one seed instead of 3, no flips",
            },
        )


CIFAR2 = Cifar2()
"""What ``retrac benchmark cifar2`` runs."""

CIFAR2_16 = Cifar2(
    name="cifar2-16",
    side=16,
    channels=(16, 32, 32),
    jobs=LARGER_JOBS,
    truth=_shipped("ground_truth_16.safetensors"),
)
"""What ``retrac benchmark cifar2-16`` runs: 263,603 parameters, at four times the pixels."""
