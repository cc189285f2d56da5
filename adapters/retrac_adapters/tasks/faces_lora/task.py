"""The fine-tuning task: an adapter learns people that its base has never seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.tasks.faces_lora import base as bases
from retrac_adapters.tasks.faces_lora.adapter import adapting
from retrac_adapters.tasks.faces_lora.base import ATTENDING, SIDE
from retrac_adapters.tasks.faces_lora.data import SUBJECTS, find, load, without_each
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.procedure import Procedure
from retrac_adapters.tasks.retrained.recipe import recipe_for
from retrac_adapters.tasks.retrained.retraining import Job, random_halves
from retrac_adapters.tasks.retrained.source import Source, jobs_for, subsets_of
from retrac_adapters.tasks.retrained.task import Retrained
from retrac_plugin.benchmarks import Task
from retrac_plugin.draws import Draws, Strided

SUBSETS = 128
JOBS = jobs_for(SUBSETS, twice=SUBSETS)

RATES = (1e-2, 1e-3)
"""Learning rates of the adapter."""

LOSS_DRAWS = Strided(20, noise_draws=1, seed=1)
"""Fewer than of other tasks: here they would take longer than the training."""

PACKAGE = "retrac_adapters.tasks.faces_lora"


def _shipped_base() -> Path:
    return truth.shipped(PACKAGE).with_name(bases.NAME)


@dataclass(frozen=True)
class FacesLora(Source):
    """A ``benchmarks.TaskSource``.

    Attributes:
        data: The ``.npz``; None: where ``RETRAC_SHARED`` says.
        rank: Of the adapter.
        epochs: Passes over the training set, of the full adapter and of those retrained.
        base_epochs: Passes over the base's pictures.
        jobs: Which subsets are retrained on, with which seeds.
        rest_seeds: How many models are retrained without each person.
        sampling_steps: Denoising steps of a picture.
        loss_draws: At which timesteps, with which noise queries' losses are taken.
        truth: Where the shipped ground truth lies.
        base: Where the base lies that it is of.
    """

    data: Path | None = None
    rank: int = 4
    epochs: int = 75
    base_epochs: int = 120
    jobs: tuple[Job, ...] = JOBS
    rest_seeds: int = 3
    sampling_steps: int = 100
    loss_draws: Draws = LOSS_DRAWS
    truth: Path = field(default_factory=lambda: truth.shipped(PACKAGE))
    base: Path = field(default_factory=_shipped_base)

    def prepare(self, directory: Path) -> Task:
        """See ``TaskSource.prepare``; a ground truth made anew is of the base made with it."""
        made = directory / bases.NAME if truth.made_in(directory) else self.base
        return replace(self, base=made).task().prepare(directory)

    def regenerate(self, directory: Path) -> Path:
        """Train a base and leave it beside the ground truth; see ``TaskSource.regenerate``."""
        pictures, _ = load(find(self.data), SIDE)
        base = bases.train(pictures, self._base_recipe(len(pictures)), directory)
        return replace(self, base=base).task().regenerate(directory)

    def task(self) -> Retrained:
        """See ``Source.task``."""
        pictures, images = load(find(self.data), SIDE)
        start = adapting(bases.read(self.base, ATTENDING), self.rank)
        return Retrained(
            name="faces-lora",
            images=images,
            procedure=lambda size, seed: Procedure(
                self._recipe(size, seed), start, self.loss_draws
            ),
            subsets=random_halves(subsets_of(self.jobs), len(images.train)),
            jobs=self.jobs,
            truth=self.truth,
            rest=without_each(images.train_labels),
            rest_seeds=self.rest_seeds,
            about={
                "training set": f"{len(images.train)} pictures of {SUBJECTS} people of the "
                f"Olivetti faces, shrunk from 64x64 to {SIDE}x{SIDE}",
                "training set of the base": f"{len(pictures)} pictures of the other people",
                **start.about,
            },
        )

    def _recipe(self, size: int, seed: int) -> Recipe:
        recipe = recipe_for(size, seed, self.epochs, ATTENDING, batch_size=15, learning_rates=RATES)
        return replace(recipe, sampling_steps=self.sampling_steps)

    def _base_recipe(self, size: int) -> Recipe:
        rates = (2e-3, 2e-4)
        return recipe_for(size, 0, self.base_epochs, ATTENDING, batch_size=28, learning_rates=rates)


FACES_LORA = FacesLora()
"""What ``retrac benchmark faces-lora`` runs."""
