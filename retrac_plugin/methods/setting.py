"""What methods on features are given, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm.auto import tqdm

from retrac_plugin.checkpoints.checkpoint import Checkpoint, check_checkpoints
from retrac_plugin.draws import Draws, Strided
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.gradients.projections import CountSketch, Projection
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.model.diffusion import DiffusionModel


@dataclass(frozen=True)
class Gradients:
    """How gradients are computed, and what is kept of them.

    Attributes:
        engine: What computes them; makes a ``StreamedEngine``, or what projects as it does.
        projection: What is kept, the same for every checkpoint and output function.
    """

    engine: EngineFactory = StreamedEngine
    projection: Projection = field(default_factory=CountSketch)


DEFAULT = Gradients()


@dataclass(frozen=True, eq=False)
class Setting:
    """Everything that decides the features of given samples.

    Attributes:
        model: The diffusion model.
        checkpoints: At least one.
        draws: Timesteps and noise of both sides.
        batch_size: Samples per network pass, all draws of a sample together; changes cost, never
            a score.
        device: Where to compute.
        gradients: What computes gradients, and what is kept of them.
        progress: Show a progress bar; None: on a terminal.
    """

    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    draws: Draws
    batch_size: int
    device: torch.device
    gradients: Gradients
    progress: bool | None

    @classmethod
    def build(
        cls,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        draws: Draws | None,
        batch_size: int,
        device: str | torch.device | None,
        gradients: Gradients,
        progress: bool | None,
    ) -> Setting:
        """Check what a method was given, and fill in what was not.

        Raises:
            InputError: If an argument is not what it should be.
        """
        if not isinstance(model, DiffusionModel):
            raise InputError(
                f"model: expected what retrac_plugin.wrap(network, scheduler) returns, got a "
                f"{type(model).__name__}"
            )
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        return cls(
            model,
            check_checkpoints(checkpoints),
            Strided(10, noise_draws=4) if draws is None else draws,
            batch_size,
            next(model.network.parameters()).device if device is None else torch.device(device),
            gradients,
            progress,
        )

    def shares_with(self, other: Setting) -> bool:
        """Whether features computed in one setting are those of the other."""
        decisive = ("model", "draws", "device", "gradients")
        same = all(getattr(self, name) == getattr(other, name) for name in decisive)
        return same and list(self.checkpoints) == list(other.checkpoints)

    def bar(self, samples: int) -> Any:
        """Return a progress bar over samples."""
        disable = None if self.progress is None else not self.progress
        return tqdm(total=samples, desc="features", unit="sample", disable=disable, leave=False)
