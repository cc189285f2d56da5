"""Weights of the loss at each timestep that follow from the noise schedule.

Given to ``retrac_plugin.wrap(weight=...)``, which binds them to the model's schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.model.schedules import NoiseSchedule

TimestepWeight = Callable[[Tensor], Tensor]
"""``timesteps [sample] -> weights [sample]``."""


@dataclass(frozen=True)
class Weighting:
    """A weight that is a function of the schedule and the timestep.

    Attributes:
        name: What to call it in messages.
        weights: ``(schedule, timesteps) -> weights``, in float64.
    """

    name: str
    weights: Callable[[NoiseSchedule, Tensor], Tensor]

    def on(self, schedule: NoiseSchedule) -> TimestepWeight:
        """Return the weight of each timestep of one schedule."""
        return partial(self.weights, schedule)


def signal_to_noise(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
    """Return ``a_t^2 / s_t^2``, ``[sample]``, float64."""
    a, s = schedule.coefficients(timesteps, torch.float64)
    return (a / s).square()


def snr() -> Weighting:
    """``a_t^2 / s_t^2``: what ``train_unconditional.py`` gives prediction type ``sample``."""
    return Weighting("snr", signal_to_noise)


def min_snr(gamma: float = 5.0) -> Weighting:
    """Min-SNR-gamma of Hang et al., arXiv 2303.09556, as ``train_text_to_image.py`` computes it.

    ``min(snr, gamma)`` on the clean sample's error, which is ``min(snr, gamma) / snr`` on the
    noise's and ``min(snr, gamma) / (snr + 1)`` on the velocity's.

    Args:
        gamma: The signal-to-noise ratio above which weights stop growing.
    """
    by_prediction_type: dict[str, Callable[[Tensor], Tensor]] = {
        # Not min(snr, gamma) / snr, which is 0 / 0 where nothing but noise is left.
        "epsilon": lambda ratio: (gamma / ratio).clamp(max=1),
        "sample": lambda ratio: ratio.clamp(max=gamma),
        "v_prediction": lambda ratio: ratio.clamp(max=gamma) / (ratio + 1),
    }

    def weights(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        if schedule.prediction_type not in by_prediction_type:
            raise InputError(
                f"min_snr has no formula for prediction type {schedule.prediction_type!r}: "
                f"expected one of {', '.join(by_prediction_type)}"
            )
        return by_prediction_type[schedule.prediction_type](signal_to_noise(schedule, timesteps))

    return Weighting(f"min_snr({gamma:g})", weights)


def min_snr_plus_one(gamma: float = 5.0) -> Weighting:
    """``min(snr, gamma) / snr + 1``: ``train_dreambooth_lora_sdxl.py`` for a velocity."""

    def weights(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        return (gamma / signal_to_noise(schedule, timesteps)).clamp(max=1) + 1

    return Weighting(f"min_snr({gamma:g}) + 1", weights)


def sigma_sqrt() -> Weighting:
    """``sigma^-2``: the scheme ``sigma_sqrt`` of the SD3 scripts, and EDM style on a U-Net."""
    return Weighting("sigma_sqrt", lambda schedule, t: _sigmas(schedule, t) ** -2)


def cosmap() -> Weighting:
    """``2 / (pi (1 - 2 sigma + 2 sigma^2))``: Esser et al., arXiv 2403.03206, section 3.1."""

    def weights(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
        sigmas = _sigmas(schedule, timesteps)
        return 2 / (math.pi * (1 - 2 * sigmas + 2 * sigmas.square()))

    return Weighting("cosmap", weights)


def _sigmas(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
    return schedule.coefficients(timesteps, torch.float64)[1]
