"""What methods on features are given: a ``Setting``, draws of both sides, and a projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from retrac_plugin.attribution.setting import Progress, Setting
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Draws
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
A_TIMESTEP = Gradients(projection=CountSketch(512))
"""Of methods that keep a row for each timestep: scores correlate by .985 with those of 4,096."""


@dataclass(frozen=True, eq=False)
class FeatureSetting:
    """What a method on features is given.

    Attributes:
        computing: The model with its checkpoints, and how gradients are taken.
        draws: Timesteps and noise of both sides.
        projection: What is kept of the gradients.
    """

    computing: Setting
    draws: Draws
    projection: Projection

    @classmethod
    def build(
        cls,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        draws: Draws,
        batch_size: int,
        device: str | torch.device | None,
        gradients: Gradients,
        progress: Progress,
    ) -> FeatureSetting:
        """Check what a method was given.

        Raises:
            InputError: If an argument is not what it should be.
        """
        engine = gradients.engine
        computing = Setting.build(model, checkpoints, batch_size, device, engine, progress)
        return cls(computing, draws, gradients.projection)

    @property
    def model(self) -> DiffusionModel:
        """The diffusion model."""
        return self.computing.model

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """Its checkpoints."""
        return self.computing.checkpoints
