"""A task whose ground truth is retraining, from its images to queries with evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.generating import generate
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.retrained import truth as truths
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION, Images
from retrac_adapters.tasks.retrained.retraining import (
    LOSS_DRAWS,
    Job,
    Left,
    retrain,
    retrain_without,
)
from retrac_plugin.benchmarks import After, Queries, Task
from retrac_plugin.metrics import Evidence

QUERY_DRAWS = retrac.Strided(10, noise_draws=4, seed=0)
SHARED_DRAWS = retrac.Shared(10, seed=0)
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
        left_out: Training images that models are retrained without, one each.
        about: To be written beside the results.
    """

    name: str
    images: Images
    recipe: Callable[[int, int], Recipe]
    subsets: Tensor
    jobs: tuple[Job, ...]
    truth: Path
    left_out: tuple[int, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, directory: Path) -> Task:
        """Train the model, or read it from ``directory`` where it was; see ``TaskSource``."""
        known = truths.read(self.truth, self.name)
        recipe = self._train(directory)
        run = retrac.read_run(directory / "run")
        return Task(
            name=self.name,
            model=run.model,
            checkpoints=run.checkpoints,
            train=self.images.train,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            shared_draws=SHARED_DRAWS,
            queries=_queries(self.images, known),
            batch_size=BATCH_SIZE,
            about={
                **self.about,
                "parameters": sum(p.numel() for p in run.model.network.parameters()),
                "recipe": asdict(recipe),
                "query draws": repr(QUERY_DRAWS),
                "draws of methods that take both sides alike": repr(SHARED_DRAWS),
                "ground truth": f"{len(known.subsets)} subsets, {len(known.losses)} seeds",
                "draws of the retrained models' losses": repr(LOSS_DRAWS),
            },
            without=partial(self._without, known.generated, directory),
        )

    def regenerate(self, directory: Path) -> Path:
        """Train, generate, and retrain on every subset; see ``TaskSource``."""
        images, recipe = self.images, self._train(directory)
        generated = generate(directory / "run", recipe, GENERATED, seed=MODEL_SEED)
        queries = _all_queries(images, generated)
        smaller = self.recipe(int(self.subsets[0].sum()), 0)
        losses = retrain(
            images.train, self.subsets, queries, smaller, self.jobs, directory / "retrained"
        )
        path = directory / truths.NAME
        known = truths.Truth(generated, self.subsets, losses)
        truths.write(self.leave_out(known, directory), path)
        return path

    def leave_out(self, known: truths.Truth, directory: Path) -> truths.Truth:
        """Return a ground truth with what training without single images does."""
        if not self.left_out:
            return known
        left = self._retrain_without(known.generated, directory, [(i,) for i in self.left_out])
        return known._replace(
            left_out=torch.tensor(self.left_out), left_out_losses=left.losses[None]
        )

    def _without(
        self, generated: Tensor, directory: Path, removals: Sequence[tuple[int, ...]]
    ) -> list[After]:
        left = self._retrain_without(generated, directory, removals)
        return [
            After(
                {name: losses[part] for name, part in _parts(self.images, generated).items()},
                {"generated": pictures},
            )
            for losses, pictures in zip(left.losses, left.pictures, strict=True)
        ]

    def _retrain_without(
        self, generated: Tensor, directory: Path, removals: Sequence[tuple[int, ...]]
    ) -> Left:
        images, recipe = self.images, self.recipe(len(self.images.train), MODEL_SEED)
        return retrain_without(
            images.train,
            removals,
            _all_queries(images, generated),
            recipe,
            len(generated),
            directory / "retrained",
        )

    def _train(self, directory: Path) -> Recipe:
        recipe = self.recipe(len(self.images.train), MODEL_SEED)
        train_once(self.images.train, recipe, directory / "run")
        return recipe


def _all_queries(images: Images, generated: Tensor) -> Tensor:
    return torch.cat([images.held_out, generated, images.train[images.traced]])


def _parts(images: Images, generated: Tensor) -> dict[str, slice]:
    """Return where each kind of query lies among ``_all_queries``."""
    held_out, drawn = len(images.held_out), len(images.held_out) + len(generated)
    return {
        "validation": slice(0, held_out),
        "generated": slice(held_out, drawn),
        "training": slice(drawn, None),
    }


def _queries(images: Images, known: truths.Truth) -> tuple[Queries, ...]:
    parts = _parts(images, known.generated)
    validation = _evidence(images, known, parts["validation"], images.held_out_labels)
    drawn = _evidence(images, known, parts["generated"], _guess(known.generated, images))
    traced = _evidence(
        images, known, parts["training"], images.train_labels[images.traced], images.traced
    )
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
    known: truths.Truth,
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
