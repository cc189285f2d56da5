"""One attribution's inputs: a setting, the draws of both sides, and what memory allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from retrac_plugin.attribution.budget import PER_SAVED, SCRATCH, Needs, Plan, as_bytes
from retrac_plugin.attribution.matrix_files import mapped_zeros
from retrac_plugin.attribution.passes import CheckpointPass, nothing
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws, Recorded, Strided, Uniform
from retrac_plugin.errors import InputError


@dataclass(frozen=True, eq=False)
class Job:
    """What decides scores, and how their computation is cut to fit.

    Attributes:
        setting: The model and its checkpoints, and how gradients are taken.
        train_draws: Timesteps and noise of the training samples.
        query_draws: Those of the queries.
        max_memory: Bytes to take beside the network and the data; None: as many as it takes.
        query_store: A folder for the queries' gradients; None: in memory.
    """

    setting: Setting
    train_draws: Draws
    query_draws: Draws
    max_memory: int | None
    query_store: str | Path | None

    @classmethod
    def build(
        cls,
        setting: Setting,
        train_draws: Draws | None,
        query_draws: Draws | None,
        max_memory: int | str | None,
        query_store: str | Path | None,
    ) -> Job:
        """Check what a method was given, and fill in what was not.

        Raises:
            InputError: If an argument is not what it should be.
        """
        if isinstance(train_draws, Recorded) and None in [c.step for c in setting.checkpoints]:
            raise InputError(
                "train_draws: recorded draws are found by a checkpoint's training step, and one of "
                "these has none. Write Checkpoint(parameters, step_size, step)"
            )
        if query_store is not None and setting.device.type != "cpu":
            raise InputError(
                f"query_store: files are mapped into the CPU's memory, and this runs on "
                f"{setting.device}. Give max_memory instead: queries are then taken in blocks"
            )
        return cls(
            setting,
            Uniform(1) if train_draws is None else train_draws,
            Strided(10, noise_draws=4) if query_draws is None else query_draws,
            None if max_memory is None else as_bytes(max_memory),
            query_store,
        )

    def differences(self, other: Job) -> list[str]:
        """Return in what, of all that decides gradients, another job differs."""
        draws = ("train_draws", "query_draws")
        found = [name for name in draws if getattr(self, name) != getattr(other, name)]
        return [*self.setting.differences(other.setting), *found]

    def plan(self, train: ExampleSource, queries: int, matrices: int, weights: int = 1) -> Plan:
        """Return how to cut the job to what ``max_memory`` allows; without it, nothing is cut.

        Args:
            train: The training set.
            queries: How many there are.
            matrices: Gradients to be held for each query.
            weights: Checkpoints to be held together.

        Raises:
            InputError: If not even one query fits.
        """
        if self.max_memory is None:
            return Plan(self.setting.batch_size, queries)
        needs = self.needs(train, matrices, weights)
        return needs.plan(self.max_memory, self.setting.batch_size, queries)

    def needs(self, train: ExampleSource, matrices: int, weights: int = 1) -> Needs:
        """Return what the job takes; loads the first checkpoint and runs one sample through it.

        Args:
            train: The training set.
            matrices: Gradients to be held for each query.
            weights: Checkpoints to be held together.
        """
        checkpoints = self.setting.checkpoints
        if any(c.query_parameters is not None for c in checkpoints):
            weights += 1  # the queries' own, beside the training set's
        at = next(self.setting.passes(nothing))
        row = at.engine.width * at.dtype.itemsize
        preconditioned = any(c.preconditioner is not None for c in checkpoints)
        timesteps, noise = self.train_draws.per_sample()
        return Needs(
            fixed=SCRATCH + weights * row * (2 if preconditioned else 1),
            row=row,
            matrices=0 if self.query_store else matrices,
            sample=int(PER_SAVED * at.sample_bytes(train, self.train_draws)),
            smallest_batch=max(timesteps * noise, self.query_draws.per_sample()[1]),
        )

    def zeros_for(self, at: CheckpointPass) -> Callable[..., Tensor] | None:
        """Return what makes the matrix of query gradients, None for memory."""
        if self.query_store is None:
            return None
        return partial(mapped_zeros, self.query_store, dtype=at.dtype)

    def about(self) -> dict[str, Any]:
        """Return what decides scores, to be written along with them."""
        model, checkpoints = self.setting.model, self.setting.checkpoints
        sizes = {name: p.numel() for name, p in model.network.named_parameters()}
        return {
            "attributed_parameters": sum(sizes[name] for name in model.attributed_names()),
            "of_parameters": sum(sizes.values()),
            "train_draws": type(self.train_draws).__name__,
            "query_draws": type(self.query_draws).__name__,
            "checkpoint_steps": [checkpoint.step for checkpoint in checkpoints],
            "step_sizes": [checkpoint.step_size for checkpoint in checkpoints],
        }
