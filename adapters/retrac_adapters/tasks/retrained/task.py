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
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.retrained import truth as truths
from retrac_adapters.tasks.retrained.continuing import Recording, continue_without
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION, Images
from retrac_adapters.tasks.retrained.looking import draw
from retrac_adapters.tasks.retrained.procedure import Procedure
from retrac_adapters.tasks.retrained.queries import all_queries, parts_of, queries_of
from retrac_adapters.tasks.retrained.retraining import (
    Job,
    Left,
    retrain,
    retrain_on_rest,
    retrain_without,
)
from retrac_plugin.benchmarks import After, Task

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
        procedure: ``(number of images, seed) -> procedure``.
        subsets: Subsets of the training set, ``[subset, train]``, bool.
        jobs: Which subsets are retrained on, with which seeds.
        truth: Where the shipped ground truth lies.
        left_out: Training images that models are retrained without, one each.
        rest: What is left of the training set without each of some groups, ``[group, train]``.
        rest_seeds: How many models are retrained on each of ``rest``.
        continued: Training images that the recorded run is continued without, one each.
        about: To be written beside the results.
    """

    name: str
    images: Images
    procedure: Callable[[int, int], Procedure]
    subsets: Tensor
    jobs: tuple[Job, ...]
    truth: Path
    left_out: tuple[int, ...] = ()
    rest: Tensor | None = None
    rest_seeds: int = 1
    continued: tuple[int, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, directory: Path) -> Task:
        """Train the model, or read it from ``directory`` where it was; see ``TaskSource``.

        A ground truth that was made anew in ``directory`` is taken in the shipped one's place.
        """
        path = truths.made_in(directory) or self.truth
        known = truths.read(path, self.name)
        procedure = self._train(directory)
        run = procedure.start.read(directory / "run")
        parameters = dict(run.model.network.named_parameters())
        return Task(
            name=self.name,
            model=run.model,
            checkpoints=run.checkpoints,
            train=self.images.train,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            shared_draws=SHARED_DRAWS,
            queries=queries_of(self.images, known),
            batch_size=BATCH_SIZE,
            about={
                **self.about,
                "parameters": sum(parameters[n].numel() for n in run.model.attributed_names()),
                "recipe": asdict(procedure.recipe),
                "query draws": repr(QUERY_DRAWS),
                "draws of methods that take both sides alike": repr(SHARED_DRAWS),
                "ground truth": f"{len(known.subsets)} subsets, {len(known.losses)} seeds, "
                f"{'shipped' if path == self.truth else 'made anew'}",
                "draws of the retrained models' losses": repr(procedure.loss_draws),
            },
            without=partial(self._without, known.generated, directory),
        )

    def regenerate(self, directory: Path) -> Path:
        """Train, generate, and retrain on every subset; see ``TaskSource``."""
        images, procedure = self.images, self._train(directory)
        last = procedure.start.read(directory / "run").checkpoints[-1]
        generated = draw(last.load(), procedure, GENERATED)
        queries = all_queries(images, generated)
        smaller = self.procedure(int(self.subsets[0].sum()), 0)
        losses = retrain(
            images.train, self.subsets, queries, smaller, self.jobs, directory / "retrained"
        )
        path = directory / truths.NAME
        known = truths.Truth(generated, self.subsets, losses)
        known = self._leave_groups_out(self.leave_out(known, directory), directory)
        truths.write(self.continue_without(known, directory), path)
        return path

    def leave_out(self, known: truths.Truth, directory: Path) -> truths.Truth:
        """Return a ground truth with what training without single images does."""
        if not self.left_out:
            return known
        left = self._retrain_without(known.generated, directory, [(i,) for i in self.left_out])
        return known._replace(
            left_out=torch.tensor(self.left_out), left_out_losses=left.losses[None]
        )

    def continue_without(self, known: truths.Truth, directory: Path) -> truths.Truth:
        """Return a ground truth with what continuing the run without single images does."""
        if not self.continued:
            return known
        procedure = self._train(directory)
        run = procedure.start.read(directory / "run")
        queries = all_queries(self.images, known.generated)
        found = continue_without(
            Recording(self.images.train, run, procedure), self.continued, queries, directory
        )
        return known._replace(
            continued=torch.tensor(self.continued),
            continued_changes=found.changes,
            continued_rounding=found.rounding,
        )

    def _leave_groups_out(self, known: truths.Truth, directory: Path) -> truths.Truth:
        if self.rest is None:
            return known
        images = self.images
        losses = retrain_on_rest(
            images.train,
            self.rest,
            all_queries(images, known.generated),
            self.procedure(len(images.train), MODEL_SEED),
            self.rest_seeds,
            directory / "retrained",
        )
        return known._replace(rest=self.rest, rest_losses=losses)

    def _without(
        self,
        generated: Tensor,
        directory: Path,
        removals: Sequence[tuple[int, ...]],
        seed: int = 0,
    ) -> list[After]:
        left = self._retrain_without(generated, directory, removals, seed)
        return [
            After(
                {name: losses[part] for name, part in parts_of(self.images, generated).items()},
                {"generated": pictures},
            )
            for losses, pictures in zip(left.losses, left.pictures, strict=True)
        ]

    def _retrain_without(
        self,
        generated: Tensor,
        directory: Path,
        removals: Sequence[tuple[int, ...]],
        seed: int = 0,
    ) -> Left:
        images = self.images
        return retrain_without(
            images.train,
            removals,
            all_queries(images, generated),
            self.procedure(len(images.train), MODEL_SEED),
            len(generated),
            directory / "retrained",
            seed,
        )

    def _train(self, directory: Path) -> Procedure:
        procedure = self.procedure(len(self.images.train), MODEL_SEED)
        train_once(self.images.train, procedure.recipe, directory / "run", procedure.start)
        return procedure
