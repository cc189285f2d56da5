"""Noise schedules of diffusers schedulers."""

from __future__ import annotations

from typing import Any, cast

from diffusers import SchedulerMixin

from retrac_plugin.diffusion import NoiseSchedule, VariancePreserving


def read_schedule(scheduler: Any) -> NoiseSchedule | None:
    """Return the training process that a scheduler stands for, or None if it is not diffusers'.

    Every scheduler with a table ``alphas_cumprod`` (DDPM, DDIM, PNDM, ...) diffuses alike, however
    it samples; the prediction type is the one of its configuration. A ``NoiseSchedule`` is returned
    as it is.
    """
    if hasattr(scheduler, "coefficients"):
        return cast(NoiseSchedule, scheduler)
    if not isinstance(scheduler, SchedulerMixin) or not hasattr(scheduler, "alphas_cumprod"):
        return None
    return VariancePreserving(
        scheduler.alphas_cumprod, scheduler.config.get("prediction_type", "epsilon")
    )
