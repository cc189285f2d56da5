"""What methods on features are given: a ``Setting``, draws of both sides, and a projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from retrac_plugin.attribution.setting import Progress, Setting
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Draws, Strided
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
class FeatureSetting:
    """Everything that decides the features of given samples.

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
        draws: Draws | None,
        batch_size: int,
        device: str | torch.device | None,
        gradients: Gradients,
        progress: Progress,
    ) -> FeatureSetting:
        """Check what a method was given, and fill in what was not.

        Raises:
            InputError: If an argument is not what it should be.
        """
        engine = gradients.engine
        computing = Setting.build(model, checkpoints, batch_size, device, engine, progress)
        chosen = Strided(10, noise_draws=4) if draws is None else draws
        return cls(computing, chosen, gradients.projection)

    @property
    def model(self) -> DiffusionModel:
        """The diffusion model."""
        return self.computing.model

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """Its checkpoints."""
        return self.computing.checkpoints

    def differences(self, other: FeatureSetting) -> list[str]:
        """Return in what, of all that decides features, another setting differs."""
        own = ("draws", "projection")
        found = [name for name in own if getattr(self, name) != getattr(other, name)]
        return [*self.computing.differences(other.computing), *found]
