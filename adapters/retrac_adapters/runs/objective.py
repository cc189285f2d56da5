"""What a run trained by: its scheduler's configuration as its script's arguments change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diffusers import EulerDiscreteScheduler, FluxTransformer2DModel, SchedulerMixin

from retrac_adapters.denoising.denoisers import predict_with_timesteps_as_labels
from retrac_adapters.denoising.flux import predict_with_flux
from retrac_adapters.denoising.schedules import EDM, edm_style, preconditioned_flow, read_schedule
from retrac_adapters.denoising.timestep_bias import TimestepBias
from retrac_adapters.scripts.arguments import UNCONDITIONAL, Arguments
from retrac_adapters.scripts.numbers import NUMBERS
from retrac_adapters.scripts.options import FINDINGS
from retrac_plugin.model import distributions, losses, weightings
from retrac_plugin.model.losses import Loss
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_MODELLED, NOT_RECORDED, Finding

HUBERS: dict[str, Callable[[float], Loss]] = {"huber": losses.huber, "smooth_l1": losses.smooth_l1}
"""The values of ``--loss_type`` beside ``l2``, by the constant ``--huber_c``."""

OFFSET_OF_DREAMBOOTH = 0.1
"""What ``--offset_noise`` of train_dreambooth.py adds to a whole channel of the noise."""

ADDING_ONE = ("dreambooth-lora-sd-xl", "dreambooth-lora-sd-15", "dreambooth-lora-playground")
"""Scripts whose min-SNR weight of a velocity is ``min(snr, gamma) / snr + 1``."""

SUBTRACTING = ("text2image-fine-tune-sdxl",)
"""Scripts that compare ``prediction - noise`` with the sample where that is the target."""

WEIGHTINGS: dict[str, Callable[[], weightings.Weighting]] = {
    "sigma_sqrt": weightings.sigma_sqrt,
    "cosmap": weightings.cosmap,
}
"""The values of ``--weighting_scheme`` that weigh; the others choose timesteps."""


@dataclass
class Objective:
    """What to give ``retrac_plugin.wrap`` besides the network and the loss."""

    scheduler: Any
    loss: Loss = "mse"
    options: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: str, subject: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, subject, text))


def read_objective(
    scheduler: SchedulerMixin,
    network: Any,
    arguments: Arguments,
    replayed: bool = False,
    loss: Loss = "mse",
) -> Objective:
    """Return the objective of a run, and what is not known of it.

    Args:
        scheduler: The scheduler that the run, or the model it started from, saved.
        network: The denoiser.
        arguments: The training script's.
        replayed: Whether samples are replayed as training saw them, augmented.
        loss: What is asked for; where it is the default, the arguments say it.
    """
    objective = Objective(_with_prediction_type(scheduler, arguments), loss)
    if objective.scheduler is not scheduler:
        _note_prediction_type(objective, scheduler, arguments)
    saved = type(scheduler).__name__
    schedule = read_schedule(objective.scheduler)
    if schedule is not None:
        if schedule.prediction_type == "flow":
            _read_flow(objective, arguments)
        else:
            _read_diffusion(objective, schedule.prediction_type, arguments)
        described = f"{schedule.prediction_type}, {schedule.num_timesteps} timesteps, from {saved}"
        objective.note(FOUND, "schedule", described)
    if "weight" in objective.options:
        objective.note(FOUND, "weighting", objective.options["weight"].name)
    _read_loss(objective, arguments)
    _read_call(objective, network, arguments)
    _read_noise(objective, arguments)
    _note_unmodelled(objective, arguments, replayed)
    return objective


def _read_loss(objective: Objective, arguments: Arguments) -> None:
    """Follow ``--loss_type`` of the scripts with a scheduled Huber loss."""
    kind, c = arguments.get("loss_type", "l2"), float(arguments.get("huber_c", 0.1))
    if kind not in HUBERS:
        return
    if objective.loss != "mse":
        objective.note(
            CONTRADICTION, "loss", f"the arguments say {kind}, {objective.loss!r} is taken"
        )
        return
    objective.loss = HUBERS[kind](c)
    schedule = arguments.get("huber_schedule", "snr")
    if schedule == "constant":
        objective.note(FOUND, "loss", f"{kind}, c = {c:g}")
    else:
        text = (
            f"c of the {kind} loss fell with the timestep ({schedule}); c = {c:g} is taken for all"
        )
        objective.note(NOT_MODELLED, "huber_schedule", text)


def _read_call(objective: Objective, network: Any, arguments: Arguments) -> None:
    """Follow what the denoiser is told beside an example's own conditions."""
    if isinstance(network, FluxTransformer2DModel) and arguments.get("guidance_scale"):
        scale = float(arguments.get("guidance_scale"))
        objective.options["predict"] = predict_with_flux(network.config.guidance_embeds, scale)
    if arguments.get("class_labels_conditioning") == "timesteps":
        objective.options["predict"] = predict_with_timesteps_as_labels(network)
        text = "the denoiser is told the timestep as class label too"
        objective.note(FOUND, "class_labels_conditioning", text)


def _read_noise(objective: Objective, arguments: Arguments) -> None:
    """Follow ``--noise_offset``, ``--offset_noise`` and ``--timestep_bias_strategy``."""
    own = OFFSET_OF_DREAMBOOTH if arguments.get("offset_noise") else 0.0
    objective.options["noise_offset"] = float(arguments.get("noise_offset", own))
    strategy = arguments.get("timestep_bias_strategy", "none")
    schedule = read_schedule(objective.scheduler)
    if strategy != "none" and schedule is not None:
        names = ("multiplier", "portion", "begin", "end")
        told = {name: arguments.get(f"timestep_bias_{name}") for name in names}
        numbers: dict[str, Any] = {
            name: NUMBERS[f"timestep_bias_{name}"].kind(value)
            for name, value in told.items()
            if value is not None
        }
        bias = TimestepBias(strategy, **numbers)
        objective.options["timestep_distribution"] = bias.over(schedule.num_timesteps)
        objective.note(FOUND, "timesteps", f"biased: {bias}")


def _with_prediction_type(scheduler: SchedulerMixin, arguments: Arguments) -> SchedulerMixin:
    """Return the scheduler with the prediction type that training had: the scripts put it there."""
    wanted, saved = arguments.get("prediction_type"), scheduler.config.get("prediction_type")
    if wanted is None or saved in (None, wanted):
        return scheduler
    return type(scheduler).from_config(scheduler.config, prediction_type=wanted)


def _note_prediction_type(
    objective: Objective, scheduler: SchedulerMixin, arguments: Arguments
) -> None:
    objective.note(
        CONTRADICTION,
        "prediction type",
        f"the saved scheduler says {scheduler.config.prediction_type}, the training script's "
        f"arguments {arguments.get('prediction_type')}: the arguments are followed, since scripts "
        "change it in memory and save the scheduler of the model they started from",
    )


def _read_diffusion(objective: Objective, prediction_type: str, arguments: Arguments) -> None:
    scheduler, gamma = objective.scheduler, arguments.get("snr_gamma")
    if arguments.get("do_edm_style_training") and not isinstance(scheduler, EDM):
        # Whatever the base samples with, the scripts load it as this one.
        objective.scheduler = edm_style(EulerDiscreteScheduler.from_config(scheduler.config))
        objective.options["weight"] = weightings.sigma_sqrt()
    elif gamma is not None and prediction_type == "v_prediction" and arguments.script in ADDING_ONE:
        objective.options["weight"] = weightings.min_snr_plus_one(float(gamma))
    elif gamma is not None:
        objective.options["weight"] = weightings.min_snr(float(gamma))
    elif prediction_type == "sample" and arguments.script == UNCONDITIONAL:
        objective.options["weight"] = weightings.snr()
    elif prediction_type == "sample" and arguments.script in SUBTRACTING:
        text = "the noise was taken from the prediction of the sample, which is not done here"
        objective.note(NOT_MODELLED, "prediction_type", text)
    elif prediction_type == "sample" and not isinstance(scheduler, EDM):
        objective.note(
            NOT_RECORDED,
            "weighting",
            "none is assumed; train_unconditional.py weighs prediction type sample by the "
            f"signal-to-noise ratio: pass arguments={{'script': '{UNCONDITIONAL}'}} if it was that",
        )


def _read_flow(objective: Objective, arguments: Arguments) -> None:
    scheme = arguments.get("weighting_scheme")
    if scheme is None:
        objective.note(
            NOT_RECORDED,
            "weighting scheme",
            "none is assumed, with uniform timesteps and no preconditioning; the SD3 scripts' "
            "defaults are weighting_scheme='logit_normal' and precondition_outputs=1",
        )
    if scheme in WEIGHTINGS:
        objective.options["weight"] = WEIGHTINGS[scheme]()
    if scheme == "logit_normal":
        objective.options["timestep_distribution"] = distributions.logit_normal(
            float(arguments.get("logit_mean", 0.0)), float(arguments.get("logit_std", 1.0))
        )
    if scheme == "mode":
        scale = float(arguments.get("mode_scale", 1.29))
        objective.options["timestep_distribution"] = distributions.mode(scale)
    if arguments.get("precondition_outputs"):
        objective.scheduler = preconditioned_flow(objective.scheduler)


def _note_unmodelled(objective: Objective, arguments: Arguments, replayed: bool) -> None:
    for name, meaning in FINDINGS.items():
        if meaning.applies(arguments.get(name)) and not (replayed and meaning.of_samples):
            objective.note(NOT_MODELLED, name, meaning.text)
    if arguments.get("with_prior_preservation"):
        objective.note(
            NOT_MODELLED,
            "with_prior_preservation",
            "half of every batch were class images. They are read with a run's pictures; append "
            f"them to tensors with a loss_weight of {arguments.get('prior_loss_weight', 1.0)} each",
        )
