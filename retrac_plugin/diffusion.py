"""The timestep-aware model: a denoiser, the noise schedule it was trained with, and its loss.

Formulas: ``x_t = a_t x + s_t eps``; the loss of one sample is the mean over all its elements of
``(prediction - target)^2`` (or of the absolute value), times an optional weight ``w(t)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from retrac_plugin.errors import InputError
from retrac_plugin.hookspecs import WrappedModel

Conditions = Mapping[str, Any]
"""The denoiser's own keyword arguments: tensors ``[sample, ...]``, or mappings of such."""

Predict = Callable[[Callable[..., Any], Tensor, Tensor, Conditions], Tensor]
ElementLoss = Callable[[Tensor, Tensor], Tensor]
Loss = str | ElementLoss
"""A key of ``LOSSES``, or a function."""
TimestepWeight = Callable[[Tensor], Tensor]
Target = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

TARGETS: dict[str, Target] = {
    "epsilon": lambda x, eps, a, s: eps,
    "sample": lambda x, eps, a, s: x,
    "v_prediction": lambda x, eps, a, s: a * eps - s * x,
}
"""What the denoiser is asked for, by prediction type, from ``(x, eps, a_t, s_t)``."""


@runtime_checkable
class NoiseSchedule(Protocol):
    """How a clean sample becomes a noisy one at timestep t."""

    @property
    def num_timesteps(self) -> int:
        """Timesteps run from 0 to this number, exclusive."""

    @property
    def prediction_type(self) -> str:
        """What the denoiser is asked for, a key of ``TARGETS``."""

    def coefficients(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return ``a_t`` and ``s_t`` of ``x_t = a_t x + s_t eps``, each shaped as ``timesteps``."""


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """The schedule of DDPM and DDIM: ``a_t^2 = alphas_cumprod[t]``, ``s_t^2 = 1 - a_t^2``."""

    alphas_cumprod: Tensor
    prediction_type: str = "epsilon"

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps of the training process."""
        return self.alphas_cumprod.shape[0]

    def coefficients(self, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """See ``NoiseSchedule.coefficients``."""
        # Cast before the square root, as diffusers does: the two orders differ at 1e-8.
        alphas = self.alphas_cumprod.to(timesteps.device, dtype)[timesteps]
        return alphas.sqrt(), (1 - alphas).sqrt()


class NoisyBatch(NamedTuple):
    """What a denoiser is trained on: everything that does not depend on its parameters."""

    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    weight: Tensor
    conditions: dict[str, Any]


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the elementwise squared error."""
    return (prediction - target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the elementwise absolute error."""
    return (prediction - target).abs()


LOSSES: dict[str, ElementLoss] = {"mse": squared_error, "l1": absolute_error}


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """A denoiser with its noise schedule and loss; made by ``retrac_plugin.wrap``.

    Attributes:
        network: The denoiser; never modified.
        predict: How to call it.
        schedule: The training process.
        element_loss: The loss of each element.
        weight: Weight of the loss at each timestep, or None.
        patterns: Which trainable parameters are attributed; glob patterns over their names.
    """

    network: nn.Module
    predict: Predict
    schedule: NoiseSchedule
    element_loss: ElementLoss = squared_error
    weight: TimestepWeight | None = None
    patterns: tuple[str, ...] = ("*",)

    @classmethod
    def build(
        cls,
        network: nn.Module,
        wrapped: WrappedModel,
        loss: Loss = "mse",
        weight: TimestepWeight | None = None,
    ) -> DiffusionModel:
        """Check what an adapter answered and return the model.

        Raises:
            InputError: If the loss or the prediction type is unknown.
        """
        if wrapped.schedule.prediction_type not in TARGETS:
            raise InputError(
                f"unknown prediction type {wrapped.schedule.prediction_type!r}: "
                f"expected one of {', '.join(TARGETS)}"
            )
        if not callable(loss) and loss not in LOSSES:
            raise InputError(
                f"unknown loss {loss!r}: expected one of {', '.join(LOSSES)}, "
                "or a function (prediction, target) -> elementwise loss"
            )
        element_loss = loss if callable(loss) else LOSSES[loss]
        return cls(network, wrapped.predict, wrapped.schedule, element_loss, weight)

    def attributing(self, *patterns: str) -> DiffusionModel:
        """Return the same model with only the parameters that match a glob pattern attributed."""
        return replace(self, patterns=patterns)

    def attributed_names(self) -> list[str]:
        """Return the names of the attributed parameters, in the network's order.

        Raises:
            InputError: If none is left.
        """
        trainable = [n for n, p in self.network.named_parameters() if p.requires_grad]
        names = [n for n in trainable if any(fnmatchcase(n, p) for p in self.patterns)]
        if not names:
            raise InputError(
                f"no parameter to attribute: of {len(trainable)} trainable parameters none matches "
                f"{', '.join(self.patterns)}. Set requires_grad, or choose other patterns"
            )
        return names

    def diffuse(
        self, samples: Tensor, timesteps: Tensor, noise: Tensor, conditions: Conditions
    ) -> NoisyBatch:
        """Return the noisy samples ``a_t x + s_t eps`` and what the denoiser should make of them.

        Args:
            samples: Clean samples ``[sample, ...]``.
            timesteps: ``[sample]``, int64.
            noise: Shaped as ``samples``.
            conditions: Tensors ``[sample, ...]`` by keyword.
        """
        shape = (-1,) + (1,) * (samples.dim() - 1)
        a, s = (c.view(shape) for c in self.schedule.coefficients(timesteps, samples.dtype))
        target = TARGETS[self.schedule.prediction_type](samples, noise, a, s)
        weight = torch.ones_like(timesteps) if self.weight is None else self.weight(timesteps)
        noisy = a * samples + s * noise
        return NoisyBatch(noisy, timesteps, target, weight.to(samples.dtype), dict(conditions))

    def losses(
        self, fixed: Mapping[str, Tensor], parameters: Mapping[str, Tensor], batch: NoisyBatch
    ) -> Tensor:
        """Return the loss of each sample, ``[sample]``.

        Args:
            fixed: The network's tensors that are not attributed, by name.
            parameters: The attributed parameters, by name.
            batch: What ``diffuse`` returned.

        Raises:
            InputError: If the prediction is not shaped as its target.
        """

        def call(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.network, {**fixed, **parameters}, args, kwargs)

        prediction = self.predict(call, batch.noisy, batch.timesteps, batch.conditions)
        if prediction.shape != batch.target.shape:
            raise InputError(
                f"the network predicts {tuple(prediction.shape)}, expected "
                f"{tuple(batch.target.shape)} for prediction type {self.schedule.prediction_type!r}"
            )
        error = self.element_loss(prediction, batch.target)
        return error.flatten(1).mean(1) * batch.weight


def check_deterministic(network: nn.Module) -> None:
    """Refuse a network whose output for one sample depends on chance or on the rest of its batch.

    Raises:
        InputError: If dropout is active, or a batch normalisation uses the batch's own statistics.
    """
    for name, module in network.named_modules():
        dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if module.training and (dropout or batch_norm):
            raise InputError(
                f"{type(module).__name__} {name!r} is in training mode, so the loss of a sample is "
                "not a function of that sample. Call network.eval() first"
            )
