"""Output functions: which number of a prediction the gradients of a method are taken of.

Zheng et al., "Intriguing Properties of Data Attribution on Diffusion Models", ICLR 2024 (D-TRAK)
compares these; ``mean-squared-l2-norm`` is its default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from retrac_plugin.diffusion import DiffusionModel
from retrac_plugin.errors import InputError
from retrac_plugin.losses import ElementLoss, squared_error
from retrac_plugin.schedules import NoiseSchedule
from retrac_plugin.weightings import TimestepWeight

Output = str | ElementLoss
"""A key of ``OUTPUTS``, or ``(prediction, target) -> numbers``, averaged over each sample."""


def _norm(order: float) -> ElementLoss:
    """Return the norm of each sample's whole prediction, ``[sample, 1]``."""
    return lambda prediction, target: torch.linalg.vector_norm(
        prediction.flatten(1), order, dim=1, keepdim=True
    )


def _elbo_weight(schedule: NoiseSchedule) -> TimestepWeight:
    """Return ``beta_t / (2 alpha_t (1 - abar_t))``, DDPM's weight of the variational bound."""

    def abar(timesteps: Tensor) -> Tensor:
        return schedule.coefficients(timesteps, torch.float64)[0].square()

    def weight(timesteps: Tensor) -> Tensor:
        before = torch.where(timesteps > 0, abar((timesteps - 1).clamp(min=0)), 1.0)
        alpha = abar(timesteps) / before
        return (1 - alpha) / (2 * alpha * (1 - abar(timesteps)))

    return weight


def _of_prediction(function: ElementLoss) -> Callable[[DiffusionModel], DiffusionModel]:
    return lambda model: replace(model, element_loss=function, weight=None)


OUTPUTS: dict[str, Callable[[DiffusionModel], DiffusionModel]] = {
    "loss": lambda model: model,
    "mean-squared-l2-norm": _of_prediction(lambda prediction, target: prediction.square()),
    "mean": _of_prediction(lambda prediction, target: prediction),
    "l1-norm": _of_prediction(_norm(1)),
    "l2-norm": _of_prediction(_norm(2)),
    "linf-norm": _of_prediction(_norm(torch.inf)),
    "weighted-mse": lambda model: replace(
        model, element_loss=squared_error, weight=_elbo_weight(model.schedule)
    ),
}
"""The model whose ``losses`` are the output function, by the names that D-TRAK gave them."""


def with_output(model: DiffusionModel, output: Output) -> DiffusionModel:
    """Return ``model`` with the output function in the place of its loss.

    Raises:
        InputError: If the name is unknown.
    """
    if callable(output):
        return _of_prediction(output)(model)
    if output not in OUTPUTS:
        raise InputError(
            f"unknown output function {output!r}: expected one of {', '.join(OUTPUTS)}, or a "
            "function (prediction, target) -> numbers to average over each sample"
        )
    return OUTPUTS[output](model)
