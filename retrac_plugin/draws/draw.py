"""What a draw is: timesteps and noise of a few samples, and the rule that gives them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from retrac_plugin.data.examples import Block
from retrac_plugin.errors import InputError
from retrac_plugin.model.distributions import TimestepDistribution, uniform


class Draw(NamedTuple):
    """Timesteps and noise for a few samples."""

    timesteps: Tensor
    """``[sample, T]``, int64."""
    noise: Tensor
    """``[sample, T, S, *sample shape]``."""
    samples: Tensor | None = None
    """``[sample, T, *sample shape]``: the samples as they were at these draws, flipped or drawn by
    an autoencoder, where that was recorded; None for those of the dataset."""


class WeightedDraw(Draw):
    """A draw of samples that do not all count; it unpacks as any draw does.

    Attributes:
        weights: ``[sample]``: what a sample's loss is multiplied by, 0 where training did not visit
            it.
    """

    weights: Tensor

    @classmethod
    def of(cls, draw: Draw, weights: Tensor) -> WeightedDraw:
        """Return a draw with weights."""
        weighted = cls(*draw)
        weighted.weights = weights
        return weighted


class Request(NamedTuple):
    """The samples that timesteps and noise are wanted for."""

    ids: list[int]
    keys: list[int]
    """What each sample was made from, see ``data.examples``."""
    shape: torch.Size
    """Shape of one sample."""
    side: str
    """``"train"`` or ``"query"``."""
    dataset_size: int
    checkpoint: int
    """Position of the checkpoint in its series."""
    step: int
    """Training step of the checkpoint; its position where none is known."""
    num_timesteps: int
    timestep_distribution: TimestepDistribution = uniform
    """From which distribution training draws its timesteps."""
    noise_offset: float = 0.0
    """Standard deviation of what training adds to a whole channel of the noise."""
    encoded: Tensor | None = None
    """The samples, where a network computed them: then ``keys`` do not tell their values."""

    @classmethod
    def of(
        cls,
        block: Block,
        side: str,
        dataset_size: int,
        at: tuple[int, int],
        drawing: tuple[int, TimestepDistribution, float],
    ) -> Request:
        """Return the request for the samples of a block.

        Args:
            block: The samples.
            side: ``"train"`` or ``"query"``.
            dataset_size: Of the dataset that they are from.
            at: Position of the checkpoint in its series, and its training step.
            drawing: The model's, see ``DiffusionModel.drawing``.
        """
        (position, step), (count, distribution, offset) = at, drawing
        return cls(
            block.ids,
            block.keys,
            block.samples.shape[1:],
            side,
            dataset_size,
            position,
            step,
            count,
            distribution,
            offset,
            encoded=block.samples if block.encoded else None,
        )


class Draws(Protocol):
    """A rule that assigns timesteps and noise to samples."""

    def per_sample(self) -> tuple[int, int]:
        """Return ``(T, S)``."""

    def draw(self, request: Request) -> Draw:
        """Return the timesteps and the noise for the samples of ``request``."""


def draw_within(draws: Draws, request: Request) -> Draw:
    """Return what ``draws`` draws for ``request``, its timesteps checked against the schedule.

    Raises:
        InputError: If a timestep lies outside the schedule.
    """
    draw = draws.draw(request)
    low, high = int(draw.timesteps.min()), int(draw.timesteps.max())
    if low < 0 or high >= request.num_timesteps:
        raise InputError(
            f"timestep {low if low < 0 else high} of the {request.side} side is outside the "
            f"schedule: expected 0 to {request.num_timesteps - 1}"
        )
    return draw


def check_positive(owner: object, **values: int) -> None:
    """Refuse counts below 1, in the words of the rule they belong to.

    Raises:
        InputError: If a value is less than 1.
    """
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{type(owner).__name__}: {name} must be at least 1, got {value}")
