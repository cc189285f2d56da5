"""Samples with their timesteps and noise: what a network is shown of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Block, ExampleSource
from retrac_plugin.draws import Draw, Draws, Request, WeightedDraw, draw_within
from retrac_plugin.errors import InputError
from retrac_plugin.model.diffusion import LOSS_WEIGHT, DiffusionModel, NoisyBatch


@dataclass(frozen=True, eq=False)
class Noising:
    """Draws and diffuses samples for one checkpoint.

    Attributes:
        model: The diffusion model.
        checkpoint: The checkpoint.
        position: Its position in the series.
        device: Where the noisy samples are wanted.
        dtype: Their type.
    """

    model: DiffusionModel
    checkpoint: Checkpoint
    position: int
    device: torch.device
    dtype: torch.dtype

    def whole(
        self, block: Block, source: ExampleSource, draws: Draws, side: str = "train"
    ) -> NoisyBatch:
        """Return all draws of some samples, a sample's side by side in time and noise."""
        draw = self.draw(block, source, draws, side)
        return self.diffuse(block, draw, torch.arange(draw.timesteps.numel()))

    def draw(self, block: Block, source: ExampleSource, draws: Draws, side: str) -> Draw:
        """Return the timesteps and the noise of some samples.

        Raises:
            InputError: If a timestep lies outside the schedule.
        """
        at = self.position, self.checkpoint.step_at(self.position)
        request = Request.of(block, side, source.dataset_size, at, self.model.drawing)
        return draw_within(draws, request)

    def diffuse(self, block: Block, draw: Draw, rows: Tensor) -> NoisyBatch:
        """Return the noisy samples of some (sample, timestep) rows, a row's draws side by side.

        Raises:
            InputError: If the samples are no floating-point numbers.
        """
        timesteps_each, noise_each = draw.noise.shape[1:3]
        if not block.samples.is_floating_point():
            raise InputError(
                f"samples are {block.samples.dtype}, expected floating-point numbers in the range "
                "that the model was trained on, such as images / 127.5 - 1"
            )
        which = (rows // timesteps_each).repeat_interleave(noise_each)
        samples = block.samples[which]
        if draw.samples is not None:
            samples = draw.samples.flatten(0, 1)[rows].repeat_interleave(noise_each, dim=0)
        conditions = {name: self._select(v, which) for name, v in block.conditions.items()}
        if isinstance(draw, WeightedDraw):
            weights = self._move(draw.weights[which])
            conditions[LOSS_WEIGHT] = conditions.get(LOSS_WEIGHT, 1) * weights
        return self.model.diffuse(
            self._move(samples),
            self._move(draw.timesteps.flatten()[rows].repeat_interleave(noise_each)),
            self._move(draw.noise.flatten(0, 1)[rows].flatten(0, 1)),
            conditions,
        )

    def _select(self, value: Any, which: Tensor) -> Any:
        if isinstance(value, dict):
            return {name: self._select(part, which) for name, part in value.items()}
        return self._move(value[which])

    def _move(self, tensor: Tensor) -> Tensor:
        floating = tensor.is_floating_point()
        return tensor.to(self.device, self.dtype if floating else None)
