"""Noise schedules of diffusers schedulers: always the training process, however they sample."""

from __future__ import annotations

from typing import Any, cast

from diffusers import (
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    SchedulerMixin,
)
from torch import Tensor

from retrac_adapters.denoising import frames
from retrac_plugin.errors import InputError
from retrac_plugin.model.schedules import NoiseLevels, NoiseSchedule, VariancePreserving, unscaled

FLOW_MATCHING = (FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler)
EDM = (EDMEulerScheduler, EDMDPMSolverMultistepScheduler)
ALIASES = {"flow_prediction": "flow", "original_sample": "sample"}


def read_schedule(scheduler: Any) -> NoiseSchedule | None:
    """Return the training process that a scheduler stands for, or None if it is not known.

    Tables of noise levels (flow matching, EDM) are rebuilt from the configuration, since
    ``set_timesteps`` puts inference tables in their place. Every other scheduler with a table
    ``alphas_cumprod`` (DDPM, DDIM, PNDM, Euler, DPM-Solver, ...) diffuses alike, as in the training
    scripts, which load it as a ``DDPMScheduler``. A ``NoiseSchedule`` is returned as it is.
    """
    if hasattr(scheduler, "coefficients"):
        return cast(NoiseSchedule, scheduler)
    if not isinstance(scheduler, SchedulerMixin):
        return None
    prediction_type = scheduler.config.get("prediction_type", "epsilon")
    prediction_type = ALIASES.get(prediction_type, prediction_type)
    if isinstance(scheduler, FLOW_MATCHING) or prediction_type == "flow":
        return flow_matching(scheduler)
    if isinstance(scheduler, EDM):
        return _edm(scheduler)
    if not hasattr(scheduler, "alphas_cumprod"):
        return None
    return VariancePreserving(_alphas_cumprod(scheduler), prediction_type)


def flow_matching(scheduler: SchedulerMixin) -> NoiseLevels:
    """Return ``x_t = (1 - sigma) x + sigma eps`` with target ``eps - x``: SD3, Flux and others."""
    fresh = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    return NoiseLevels(fresh.sigmas, fresh.timesteps)


def preconditioned_flow(scheduler: SchedulerMixin) -> NoiseLevels:
    """Return ``--precondition_outputs`` of the SD3 scripts: ``x_t - sigma F`` against ``x``."""
    fresh = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    return NoiseLevels(fresh.sigmas, fresh.timesteps, "sample", network_frame=frames.denoised_flow)


def edm_style(scheduler: SchedulerMixin) -> NoiseLevels:
    """Return ``--do_edm_style_training`` of the SDXL scripts for an Euler or EDM scheduler.

    Pass ``weight=sigma_sqrt()`` with an Euler scheduler, as the scripts do; none with an EDM one.

    Raises:
        InputError: If it is another scheduler, or its prediction type one that is not known so.
    """
    if isinstance(scheduler, EDM):
        return _edm(scheduler)
    if not hasattr(scheduler, "sigmas"):
        raise InputError(
            f"edm_style: expected an EulerDiscreteScheduler or an EDM scheduler, got a "
            f"{type(scheduler).__name__}. As the scripts do, make the former of it: "
            "EulerDiscreteScheduler.from_config(scheduler.config)"
        )
    frame = frames.EULER.get(scheduler.config.prediction_type)
    if frame is None:
        raise InputError(
            f"edm_style: expected the prediction type {' or '.join(frames.EULER)}, got "
            f"{scheduler.config.prediction_type!r}"
        )
    return _karras(scheduler, frame)


def _edm(scheduler: SchedulerMixin) -> NoiseLevels:
    config = scheduler.config
    return _karras(scheduler, frames.edm(config.sigma_data, config.prediction_type))


def _karras(scheduler: SchedulerMixin, frame: frames.NetworkFrame) -> NoiseLevels:
    fresh = type(scheduler).from_config(scheduler.config)
    count = scheduler.config.num_train_timesteps  # the tables hold the end of sampling besides
    return NoiseLevels(fresh.sigmas[:count], fresh.timesteps[:count], "sample", unscaled, frame)


def _alphas_cumprod(scheduler: Any) -> Tensor:
    alphas: Tensor = scheduler.alphas_cumprod
    if scheduler.config.get("rescale_betas_zero_snr", False):
        # Samplers keep the last one just above 0, since they divide by it; training had 0.
        alphas = alphas.clone()
        alphas[-1] = 0
    return alphas
