"""The true Fisher matrix of a denoiser: targets sampled from the model's own distribution.

A mean of squares over ``n`` elements, weighted by ``w``, is the negative log-likelihood of a normal
distribution around the prediction ``f`` with variance ``n / 2w``. For a target
``f + sqrt(n / 2w) z`` with standard normal ``z`` the gradient is ``-sqrt(2w / n) z^T J`` with
``J = df / dtheta``. Its second moment is ``(2w / n) J^T J``: the Fisher matrix, which here is the
Gauss-Newton matrix.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from retrac_plugin.frameworks.side_loaders import Side
from retrac_plugin.model.diffusion import DiffusionModel, NoisyBatch
from retrac_plugin.randomness import content_key, normal

SEED = 0x46495348
"""Tells these numbers from the noise that is drawn for the same samples."""


class WithResiduals(Dataset[tuple[Tensor, ...]]):
    """Single draws ``(x0, t, noise, *conditions)``, each with a normal ``z [*sample]`` behind.

    Keyed by what the sample was made from, the timestep and the noise: the same in every batch,
    order and subset, whatever the last bits of a latent.
    """

    def __init__(self, side: Side) -> None:
        self.draws, self.rows = side.drawn.by_draw(), side.rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        key, item = self.draws.keyed(self.rows[index])
        sample, timesteps, noise, *_ = item
        of_draw = (SEED, key, int(timesteps.reshape(())), content_key(noise))
        return *item, normal([of_draw], sample.shape)[0]


def sampled(
    model: DiffusionModel, batch: NoisyBatch, residuals: Tensor
) -> tuple[DiffusionModel, NoisyBatch]:
    """Return what ``losses`` differentiates to ``sqrt(2w / n) z^T J``, the sampled gradient.

    The loss is linear in the prediction, ``sqrt(2w / n) <z, f>``: the gradient of the one with a
    sampled target but for its sign, without a division by a weight that may be zero.

    Args:
        model: The model, with the mean squared error as its loss.
        batch: What it predicts from, ``[row, ...]``.
        residuals: ``z``, ``[row, *sample]``.
    """
    elements = residuals[0].numel()
    linear = replace(model, element_loss=lambda prediction, _: prediction * residuals)
    # losses() takes the mean over the elements, and then the weight.
    return linear, batch._replace(weight=torch.sqrt(2 * elements * batch.weight))
