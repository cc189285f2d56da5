"""Losses of samples, averaged over their draws, without any gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass, nothing
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.rescaling import keep_norm
from retrac_plugin.attribution.setting import device_for
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import (
    Batch,
    LossFunction,
    Parameters,
    Products,
    RowGradients,
)
from retrac_plugin.model.diffusion import DiffusionModel


class LossEngine:
    """A ``GradientEngine`` that gives a row's mean loss in place of its gradient, unscaled."""

    width = 1

    def __init__(
        self, losses: LossFunction, parameters: Parameters, scales: Parameters | None = None
    ) -> None:
        self.losses, self.parameters = losses, parameters

    @torch.no_grad()
    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """See ``GradientEngine.gradients``."""
        losses = self.losses(self.parameters, batch).view(-1, draws)
        return RowGradients(losses, losses.mean(1, keepdim=True))

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """See ``GradientEngine.products``."""
        for batch in batches:
            losses, rows = self.gradients(batch, draws)
            yield Products(losses, rows @ vectors.T, rows[:, 0].abs())

    def fallbacks(self) -> dict[str, str]:
        """See ``GradientEngine.fallbacks``; there is no gradient."""
        return {}


def mean_losses(
    model: DiffusionModel,
    checkpoint: Checkpoint,
    examples: Examples,
    draws: Draws,
    batch_size: int = 64,
    device: str | torch.device | None = None,
) -> Tensor:
    """Return each example's loss at a checkpoint, averaged over its draws, ``[example]``.

    Args:
        model: The diffusion model.
        checkpoint: Its parameters.
        examples: Whose losses.
        draws: At which timesteps, with which noise; taken as a query's.
        batch_size: Samples per network pass.
        device: Where to compute; default: where the network is.

    Raises:
        RetracError: If the data, the checkpoint or a loss cannot be used.
    """
    place = device_for(model, device)
    at = CheckpointPass(model, checkpoint, 0, LossEngine, place, batch_size, nothing)
    return query_gradients(at, ExampleSource(examples, "queries"), draws, [keep_norm])[0, :, 0]
