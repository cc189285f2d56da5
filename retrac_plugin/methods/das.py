"""DAS: how much the prediction itself would change without a training sample."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.features import UNIT, Treatment
from retrac_plugin.methods.features import Bank, Pair
from retrac_plugin.methods.trak import TRAK
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.outputs import Output


def _residual(model: DiffusionModel) -> DiffusionModel:
    return replace(model, element_loss=lambda f, target: f - target, weight=None)


RESIDUAL = Output("residual", _residual)
"""The mean residual. Its target is constant, so its gradient is that of the mean prediction."""


class DAS(TRAK):
    """The Diffusion Attribution Score (Lin et al., ICLR 2025, arXiv 2410.18639).

    ``(phi_q^T (Phi^T Phi + lambda I)^-1 phi_i r_i / (1 - h_i))^2``: the squared change of the mean
    prediction when ``i`` is left out, by one Newton step. ``phi`` is the gradient of the mean
    prediction, of norm 1 at each timestep, ``r_i`` the mean residual over the same draws, ``h_i =
    phi_i^T (Phi^T Phi + lambda I)^-1 phi_i`` the leverage. A reading: the paper's prediction is the
    whole picture, which its code too replaces by its mean. Never negative, so it has no opponents.
    """

    name = "DAS"
    output = RESIDUAL
    treatment: ClassVar[Treatment] = UNIT

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        return super().score(bank).square()

    def scale(self, pair: Pair) -> Tensor:
        """See ``TRAK.scale``."""
        left = 1 - pair.whole.curvature.leverages(pair.coordinates, self.damping)
        tiny = torch.finfo(left.dtype).eps  # undamped, a sample may have all the leverage there is
        return pair.train.outputs / left.clamp(min=tiny)
