"""A task whose ground truth is retraining, from its images to queries with evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.generating import generate
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.training import train_once
from retrac_adapters.retrained import truth
from retrac_adapters.retrained.images import REPORTED, SELECTION, Images
from retrac_adapters.retrained.retraining import LOSS_DRAWS, Job, retrain
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.metrics import Evidence

QUERY_DRAWS = retrac.Strided(10, noise_draws=4, seed=0)
BATCH_SIZE = 200
MODEL_SEED = 0
GENERATED = SELECTION + REPORTED


@dataclass(frozen=True, eq=False)
class Retrained:
    """A ``benchmarks.TaskSource``.

    Attributes:
        name: What users type.
        images: The images.
        recipe: ``(number of images, seed) -> recipe``.
        subsets: Subsets of the training set, ``[subset, train]``, bool.
        jobs: Which subsets are retrained on, with which seeds.
        truth: Where the ground truth lies.
        about: To be written beside the results.
    """

    name: str
    images: Images
    recipe: Callable[[int, int], Recipe]
    subsets: Tensor
    jobs: tuple[Job, ...]
    truth: Path
    about: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, directory: Path) -> Task:
        """Train the model, or read it from ``directory`` where it was; see ``TaskSource``."""
        known = truth.read(self.truth, self.name)
        recipe = self._train(directory)
        run = retrac.read_run(directory / "run")
        return Task(
            name=self.name,
            model=run.model,
            checkpoints=run.checkpoints,
            train=self.images.train,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            queries=_queries(self.images, known),
            batch_size=BATCH_SIZE,
            about={
                **self.about,
                "parameters": sum(p.numel() for p in run.model.network.parameters()),
                "recipe": asdict(recipe),
                "query draws": repr(QUERY_DRAWS),
                "ground truth": f"{len(known.subsets)} subsets, {len(known.losses)} seeds",
                "draws of the retrained models' losses": repr(LOSS_DRAWS),
            },
        )

    def regenerate(self, directory: Path) -> Path:
        """Train, generate, and retrain on every subset; see ``TaskSource``."""
        images, recipe = self.images, self._train(directory)
        generated = generate(directory / "run", recipe, GENERATED, seed=MODEL_SEED)
        queries = torch.cat([images.held_out, generated, images.train[images.traced]])
        smaller = self.recipe(int(self.subsets[0].sum()), 0)
        losses = retrain(
            images.train, self.subsets, queries, smaller, self.jobs, directory / "retrained"
        )
        path = directory / truth.NAME
        truth.write(truth.Truth(generated, self.subsets, losses), path)
        return path

    def _train(self, directory: Path) -> Recipe:
        recipe = self.recipe(len(self.images.train), MODEL_SEED)
        train_once(self.images.train, recipe, directory / "run")
        return recipe


def _queries(images: Images, known: truth.Truth) -> tuple[Queries, ...]:
    held_out, generated = len(images.held_out), len(known.generated)
    parts = [
        slice(0, held_out),
        slice(held_out, held_out + generated),
        slice(held_out + generated, None),
    ]
    validation = _evidence(images, known, parts[0], images.held_out_labels)
    drawn = _evidence(images, known, parts[1], _guess(known.generated, images))
    traced = _evidence(images, known, parts[2], images.train_labels[images.traced], images.traced)
    return (
        Queries("validation", images.held_out, validation, held_back=SELECTION),
        Queries("generated", known.generated, drawn, held_back=SELECTION),
        Queries("training", images.train[images.traced], traced),
    )


def _guess(pictures: Tensor, images: Images) -> Tensor:
    """Return what a classifier of the training images takes pictures for."""
    from sklearn.svm import SVC

    classifier = SVC().fit(images.train.flatten(1).numpy(), images.train_labels.numpy())
    return torch.from_numpy(classifier.predict(pictures.flatten(1).numpy()))


def _evidence(
    images: Images,
    known: truth.Truth,
    part: slice,
    labels: Tensor,
    traced: Tensor | None = None,
) -> Evidence:
    left_out = known.left_out_losses
    return Evidence(
        train_labels=images.train_labels,
        query_labels=labels,
        train_is_minority=images.in_minority(images.train_labels),
        query_is_minority=images.in_minority(labels),
        query_train_index=traced,
        subsets=known.subsets,
        subset_losses=known.losses[..., part],
        left_out=known.left_out,
        left_out_losses=None if left_out is None else left_out[..., part],
    )
