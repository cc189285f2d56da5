"""The timestep-aware model: a denoiser, the noise schedule it was trained with, and its loss.

Formulas: ``x_t = a_t x + s_t eps``; the loss of one sample is the mean over all its elements of
``(prediction - target)^2`` (or another loss of each element), times an optional weight ``w(t)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retrac_plugin.errors import InputError
from retrac_plugin.model.calling import call_with, given
from retrac_plugin.model.checks import check_elementwise, check_prediction, described
from retrac_plugin.model.distributions import TimestepDistribution, uniform
from retrac_plugin.model.losses import LOSSES, ElementLoss, Loss, squared_error
from retrac_plugin.model.preconditioning import Conditions, Preconditioned, Predict, precondition
from retrac_plugin.model.schedules import NoiseSchedule
from retrac_plugin.model.weightings import TimestepWeight, Weighting
from retrac_plugin.randomness import SAMPLE_KEY

Target = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

TARGETS: dict[str, Target] = {
    "epsilon": lambda x, eps, a, s: eps,
    "sample": lambda x, eps, a, s: x,
    "v_prediction": lambda x, eps, a, s: a * eps - s * x,
    "flow": lambda x, eps, a, s: eps - x,
}
"""What the prediction should be, by prediction type, from ``(x, eps, a_t, s_t)``."""

LOSS_WEIGHT = "loss_weight"
"""The field of an example that weighs its own loss and is no condition, such as the
``--prior_loss_weight`` of DreamBooth's class images."""


class NoisyBatch(NamedTuple):
    """What a denoiser is trained on: everything that does not depend on its parameters."""

    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    weight: Tensor
    conditions: dict[str, Any]


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """A denoiser with its noise schedule and loss; made by ``retrac_plugin.wrap``.

    Attributes:
        network: The denoiser; never modified.
        predict: How to call it.
        schedule: The training process.
        element_loss: The loss of each element.
        weight: Weight of the loss at each timestep, or None.
        choices: Which trainable parameters are attributed, see ``attributing``.
        timestep_distribution: From which distribution training draws timesteps.
        noise_offset: Standard deviation of what training adds to a whole channel of the noise.
        compared_with: ``(timesteps, like) -> [sample, ...]``: what the prediction is compared with,
            made as ``like`` is; None: what training asks for, see ``TARGETS``.
    """

    network: nn.Module
    predict: Predict
    schedule: NoiseSchedule
    element_loss: ElementLoss = squared_error
    weight: TimestepWeight | None = None
    choices: tuple[str | type[nn.Module], ...] = ("*",)
    timestep_distribution: TimestepDistribution = uniform
    noise_offset: float = 0.0
    compared_with: Callable[[Tensor, Tensor], Tensor] | None = None

    @classmethod
    def build(
        cls,
        network: nn.Module,
        predict: Predict,
        schedule: NoiseSchedule,
        loss: Loss = "mse",
        weight: TimestepWeight | Weighting | None = None,
        **objective: Any,
    ) -> DiffusionModel:
        """Check what belongs together and return the model.

        Args:
            network: The denoiser.
            predict: How to call it.
            schedule: The training process.
            loss: A key of ``LOSSES``, or a function.
            weight: Weight of the loss at each timestep; a ``Weighting`` is bound to the schedule.
            **objective: ``timestep_distribution`` and ``noise_offset``, as in the attributes.

        Raises:
            InputError: If the loss or the prediction type is unknown.
        """
        if schedule.prediction_type not in TARGETS:
            raise InputError(
                f"unknown prediction type {schedule.prediction_type!r}: "
                f"expected one of {', '.join(TARGETS)}"
            )
        if not callable(loss) and loss not in LOSSES:
            raise InputError(
                f"unknown loss {loss!r}: expected one of {', '.join(LOSSES)}, "
                "or a function (prediction, target) -> elementwise loss"
            )
        element_loss = loss if callable(loss) else LOSSES[loss]
        if isinstance(weight, Weighting):
            weight = weight.on(schedule)
        if isinstance(schedule, Preconditioned):
            predict = precondition(predict, schedule)
        return cls(network, predict, schedule, element_loss, weight, **objective)

    @property
    def drawing(self) -> tuple[int, TimestepDistribution, float]:
        """Number of timesteps, their distribution, noise offset: what ``draws.Request`` asks by."""
        return self.schedule.num_timesteps, self.timestep_distribution, self.noise_offset

    def attributing(self, *choices: str | type[nn.Module]) -> DiffusionModel:
        """Return the same model with only some of its trainable parameters attributed.

        Args:
            *choices: Glob patterns over their names, such as ``"*attn*"``, and types of the modules
                that hold them, such as ``torch.nn.Linear``; what any of them chooses counts.
        """
        return replace(self, choices=choices)

    def attributed_names(self) -> list[str]:
        """Return the names of the attributed parameters, in the network's order.

        Raises:
            InputError: If none is left.
        """
        trainable = [n for n, p in self.network.named_parameters() if p.requires_grad]
        patterns = [choice for choice in self.choices if isinstance(choice, str)]
        types = tuple(choice for choice in self.choices if not isinstance(choice, str))
        names = [
            name
            for name in trainable
            if any(fnmatchcase(name, pattern) for pattern in patterns)
            or isinstance(self.network.get_submodule(name.rpartition(".")[0]), types)
        ]
        if not names:
            chosen = ", ".join([*patterns, *(kind.__name__ for kind in types)])
            raise InputError(
                f"no parameter to attribute: of {len(trainable)} trainable parameters none matches "
                f"{chosen}. Set requires_grad, or choose other patterns or types of modules"
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
            conditions: Tensors ``[sample, ...]`` by keyword; ``loss_weight``, if among them, weighs
                each sample's loss and is not passed to the denoiser; nor is ``sample_key``.
        """
        conditions = dict(conditions)
        own = conditions.pop(LOSS_WEIGHT, 1)
        conditions.pop(SAMPLE_KEY, None)
        shape = (-1,) + (1,) * (samples.dim() - 1)
        a, s = (c.view(shape) for c in self.schedule.coefficients(timesteps, samples.dtype))
        weight = torch.ones_like(timesteps) if self.weight is None else self.weight(timesteps)
        weight = own * weight.to(samples.dtype)
        if self.compared_with is None:
            target = TARGETS[self.schedule.prediction_type](samples, noise, a, s)
        else:
            target = self.compared_with(timesteps, noise)
        return NoisyBatch(a * samples + s * noise, timesteps, target, weight, conditions)

    def losses(
        self, fixed: Mapping[str, Tensor], parameters: Mapping[str, Tensor], batch: NoisyBatch
    ) -> Tensor:
        """Return the loss of each sample, ``[sample]``.

        Args:
            fixed: The network's tensors that are not attributed, by name.
            parameters: The attributed parameters, by name.
            batch: What ``diffuse`` returned.

        Raises:
            InputError: If the network cannot be called with the conditions, or the prediction or
                the loss is not shaped as the target.
        """
        tensors = {**fixed, **parameters}

        def call(*args: Any, **kwargs: Any) -> Any:
            return call_with(self.network, tensors, args, kwargs)

        shown = given((batch.noisy, batch.timesteps, batch.conditions), tensors, batch.noisy.dtype)
        try:
            prediction = self.predict(call, *shown)
        except (TypeError, ValueError, AttributeError, KeyError) as cause:
            told = described({"sample": batch.noisy, **batch.conditions})
            raise InputError(
                f"{type(self.network).__name__} cannot be called with {told}: {cause}. An "
                "example's fields are the denoiser's own arguments, without a batch dimension"
            ) from cause
        check_prediction(prediction, batch.target, self.schedule.prediction_type)
        error = self.element_loss(prediction.to(batch.target.dtype), batch.target)
        check_elementwise(error, prediction)
        return error.flatten(1).mean(1) * batch.weight
