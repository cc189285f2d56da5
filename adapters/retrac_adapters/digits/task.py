"""The digits task."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.generating import generate
from retrac_adapters.demo.training import train_once
from retrac_adapters.digits import truth
from retrac_adapters.digits.data import PATCH_LABEL, REPORTED, SELECTION, DigitsData, load
from retrac_adapters.digits.recipe import EPOCHS, recipe_for
from retrac_adapters.digits.retraining import LOSS_DRAWS, Job, random_halves, retrain
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.metrics import Evidence

SUBSETS = 64
TWICE = 16
"""The first subsets are retrained on with a second seed, to know the noise."""

JOBS: tuple[Job, ...] = (
    *((0, subset) for subset in range(SUBSETS)),
    *((1, subset) for subset in range(TWICE)),
)
QUERY_DRAWS = retrac.Strided(10, noise_draws=4, seed=0)
BATCH_SIZE = 200
MODEL_SEED = 0
GENERATED = SELECTION + REPORTED


@dataclass(frozen=True)
class Digits:
    """A ``benchmarks.TaskSource``.

    Attributes:
        epochs: Passes over the training set, of the full model and of those retrained.
        jobs: Which subsets are retrained on, with which seeds.
        truth: Where the ground truth lies.
    """

    epochs: int = EPOCHS
    jobs: tuple[Job, ...] = JOBS
    truth: Path = field(default_factory=truth.shipped)

    def prepare(self, directory: Path) -> Task:
        """Train the model, or read it from ``directory`` where it was; see ``TaskSource``."""
        data, known = load(), truth.read(self.truth)
        recipe = self._train(data, directory)
        run = retrac.read_run(directory / "run")
        return Task(
            name="digits",
            model=run.model,
            checkpoints=run.checkpoints,
            train=data.train,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            queries=_queries(data, known),
            batch_size=BATCH_SIZE,
            about={
                "training set": f"{len(data.train)} images of scikit-learn, 8x8: digits and "
                f"{int((data.train_labels == PATCH_LABEL).sum())} photo patches",
                "parameters": sum(p.numel() for p in run.model.network.parameters()),
                "recipe": asdict(recipe),
                "query draws": repr(QUERY_DRAWS),
                "ground truth": f"{len(known.subsets)} random halves, {len(known.losses)} seeds",
                "draws of the retrained models' losses": repr(LOSS_DRAWS),
            },
        )

    def regenerate(self, directory: Path) -> Path:
        """Train, generate, and retrain on every subset; see ``TaskSource``."""
        data = load()
        recipe = self._train(data, directory)
        generated = generate(directory / "run", recipe, GENERATED, seed=MODEL_SEED)
        subsets = random_halves(1 + max(subset for _, subset in self.jobs), len(data.train))
        queries = torch.cat([data.held_out, generated, data.train[data.traced]])
        half = recipe_for(len(data.train) // 2, seed=0, epochs=self.epochs)
        losses = retrain(data.train, subsets, queries, half, self.jobs, directory / "retrained")
        path = directory / truth.NAME
        truth.write(truth.Truth(generated, subsets, losses), path)
        return path

    def _train(self, data: DigitsData, directory: Path) -> Any:
        recipe = recipe_for(len(data.train), seed=MODEL_SEED, epochs=self.epochs)
        train_once(data.train, recipe, directory / "run")
        return recipe


def _queries(data: DigitsData, known: truth.Truth) -> tuple[Queries, ...]:
    held_out, generated = len(data.held_out), len(known.generated)
    parts = torch.split(known.losses, [held_out, generated, len(data.traced)], dim=2)
    guessed = _guess(known.generated, data)
    return (
        Queries(
            "validation",
            data.held_out,
            _evidence(data, known, parts[0], data.held_out_labels),
            held_back=SELECTION,
        ),
        Queries(
            "generated",
            known.generated,
            _evidence(data, known, parts[1], guessed),
            held_back=SELECTION,
        ),
        Queries(
            "training",
            data.train[data.traced],
            _evidence(data, known, parts[2], data.train_labels[data.traced], data.traced),
        ),
    )


def _guess(pictures: Tensor, data: DigitsData) -> Tensor:
    """Return what a classifier of the training images takes pictures for."""
    from sklearn.svm import SVC

    classifier = SVC().fit(data.train.flatten(1).numpy(), data.train_labels.numpy())
    return torch.from_numpy(classifier.predict(pictures.flatten(1).numpy()))


def _evidence(
    data: DigitsData,
    known: truth.Truth,
    losses: Tensor,
    labels: Tensor,
    traced: Tensor | None = None,
) -> Evidence:
    return Evidence(
        train_labels=data.train_labels,
        query_labels=labels,
        train_is_minority=data.train_labels == PATCH_LABEL,
        query_is_minority=labels == PATCH_LABEL,
        query_train_index=traced,
        subsets=known.subsets,
        subset_losses=losses,
    )


DIGITS = Digits()
"""What ``retrac benchmark digits`` runs."""
