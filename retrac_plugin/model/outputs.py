"""Output functions: of which number of a sample the gradient is taken.

The loss, or what D-TRAK (Zheng et al., "Intriguing Properties of Data Attribution on Diffusion
Models", ICLR 2024) puts in its place: numbers of the prediction ``f = f_theta(x_t, t)`` alone. Each
turns a diffusion model into one whose "loss" is that number, so that whatever takes gradients of
losses takes theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import ElementLoss, squared_error
from retrac_plugin.model.schedules import NoiseSchedule
from retrac_plugin.model.weightings import TimestepWeight
from retrac_plugin.randomness import normal

_OF_PROBES = 4
"""In a key at the place of the side, see ``randomness``."""

Change = Callable[[DiffusionModel], DiffusionModel]


@dataclass(frozen=True)
class Output:
    """An output function.

    Attributes:
        name: As in D-TRAK's code.
        of: Returns the model whose loss is this output.
    """

    name: str
    of: Change


def _of_prediction(
    number: Callable[[Tensor], Tensor],
) -> Callable[[DiffusionModel], DiffusionModel]:
    """Turn ``predictions [sample, element] -> numbers [sample, any]`` into an output function."""

    def element_loss(prediction: Tensor, target: Tensor) -> Tensor:
        return number(prediction.flatten(1))

    return lambda model: replace(model, element_loss=element_loss, weight=None)


def _norm(order: float) -> Callable[[Tensor], Tensor]:
    return lambda f: torch.linalg.vector_norm(f, order, dim=1, keepdim=True)


def elbo_weight(schedule: NoiseSchedule) -> TimestepWeight:
    """Return ``beta_t / (2 alpha_t (1 - abar_t))``, the weight of the evidence lower bound.

    ``abar_t`` is ``a_t^2`` of a variance-preserving schedule, ``alpha_t = abar_t / abar_(t-1)`` and
    ``beta_t = 1 - alpha_t``. Source: Ho et al. (NeurIPS 2020), eq. 12, with ``sigma_t^2 = beta_t``.

    Raises:
        InputError: If the schedule does not preserve variance, ``a_t^2 + s_t^2 = 1``.
    """
    a, s = schedule.coefficients(torch.arange(schedule.num_timesteps), torch.float64)
    if not torch.allclose(a.square() + s.square(), torch.ones_like(a), atol=1e-4):
        raise InputError(
            "the weights of the evidence lower bound are those of a variance-preserving schedule, "
            f"got a {type(schedule).__name__} of prediction type {schedule.prediction_type!r}"
        )

    def weight(timesteps: Tensor) -> Tensor:
        kept, noise = schedule.coefficients(timesteps, torch.float64)
        before, _ = schedule.coefficients((timesteps - 1).clamp(min=0), torch.float64)
        first = timesteps == 0  # there is nothing before it: abar is 1
        alpha = (kept / torch.where(first, 1, before)).square()
        return (1 - alpha) / (2 * alpha * noise.square())

    return weight


def _probe(timesteps: Tensor, like: Tensor) -> Tensor:
    """Return Gaussian numbers ``[sample, ...]``, the same for all samples at a timestep."""
    at = timesteps.tolist()
    known = {t: row for row, t in enumerate(sorted(set(at)))}
    probes = normal([(0, _OF_PROBES, t, 0) for t in known], like.shape[1:])
    return probes.to(like)[[known[t] for t in at]]


def _product(prediction: Tensor, probe: Tensor) -> Tensor:
    return prediction * probe


LOSS = Output("loss", lambda model: model)
MEAN_SQUARED_NORM = Output("mean-squared-l2-norm", _of_prediction(torch.square))
MEAN = Output("mean", _of_prediction(lambda f: f))
L1_NORM = Output("l1-norm", _of_prediction(_norm(1)))
L2_NORM = Output("l2-norm", _of_prediction(_norm(2)))
LINF_NORM = Output("linf-norm", _of_prediction(_norm(torch.inf)))
PROBE = Output(
    "random probe",
    lambda model: replace(model, element_loss=_product, weight=None, compared_with=_probe),
)
"""``<f, v> / elements`` with a Gaussian ``v``, a function of the timestep alone. The inner product
of two gradients is then a sample of the trace of ``J_x J_y^T``, ``J`` the prediction's Jacobian: of
the neural tangent kernel."""
WEIGHTED_MSE = Output(
    "weighted-mse",
    lambda model: replace(model, element_loss=squared_error, weight=elbo_weight(model.schedule)),
)

OUTPUTS = {
    output.name: output
    for output in (LOSS, MEAN_SQUARED_NORM, MEAN, L1_NORM, L2_NORM, LINF_NORM, WEIGHTED_MSE)
}
"""All of them, by name."""


def with_output(model: DiffusionModel, output: str | ElementLoss) -> DiffusionModel:
    """Return ``model`` with an output function in the place of its loss.

    Args:
        model: The diffusion model.
        output: A key of ``OUTPUTS``, or ``(prediction, target) -> numbers``, which are averaged
            over each sample.

    Raises:
        InputError: If the name is unknown.
    """
    if callable(output):
        return replace(model, element_loss=output, weight=None)
    if output not in OUTPUTS:
        raise InputError(
            f"unknown output function {output!r}: expected one of {', '.join(OUTPUTS)}, or a "
            "function (prediction, target) -> numbers to average over each sample"
        )
    return OUTPUTS[output].of(model)
