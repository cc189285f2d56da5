"""What a run trained by: its scheduler's configuration as its script's arguments change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffusers import FluxTransformer2DModel, SchedulerMixin

from retrac_adapters.denoising.flux import predict_with_flux
from retrac_adapters.denoising.schedules import EDM, edm_style, preconditioned_flow, read_schedule
from retrac_adapters.scripts.arguments import UNCONDITIONAL, Arguments
from retrac_plugin.model import distributions, weightings
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_MODELLED, NOT_RECORDED, Finding

ADDING_ONE = ("dreambooth-lora-sd-xl", "dreambooth-lora-sd-15", "dreambooth-lora-playground")
"""Scripts whose min-SNR weight of a velocity is ``min(snr, gamma) / snr + 1``."""

WEIGHTINGS: dict[str, Callable[[], weightings.Weighting]] = {
    "sigma_sqrt": weightings.sigma_sqrt,
    "cosmap": weightings.cosmap,
}
"""The values of ``--weighting_scheme`` that weigh; the others choose timesteps."""

UNMODELLED = {
    "input_perturbation": "the noise of the noisy sample was perturbed, that of the target not",
    "dream_training": "DREAM changed the noisy sample by the network's own prediction",
    "train_text_encoder": "the text encoder was trained too; influence through it is left out",
    "random_flip": "images were flipped at random, the dataset's are taken as they are",
    "proportion_empty_prompts": "some captions were left out at random, the examples' are kept",
}
"""Arguments that change the loss in a way that the attribution does not follow."""

AUGMENTATIONS = ("random_flip",)
"""Those of them that change nothing but the sample."""


@dataclass
class Objective:
    """What to give ``retrac_plugin.wrap`` besides the network and the loss."""

    scheduler: Any
    options: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: str, subject: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, subject, text))


def read_objective(
    scheduler: SchedulerMixin, network: Any, arguments: Arguments, replayed: bool = False
) -> Objective:
    """Return the objective of a run, and what is not known of it.

    Args:
        scheduler: The scheduler that the run, or the model it started from, saved.
        network: The denoiser.
        arguments: The training script's.
        replayed: Whether samples are replayed as training saw them, augmented.
    """
    objective = Objective(_with_prediction_type(scheduler, arguments))
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
    if isinstance(network, FluxTransformer2DModel) and arguments.get("guidance_scale"):
        scale = float(arguments.get("guidance_scale"))
        objective.options["predict"] = predict_with_flux(network.config.guidance_embeds, scale)
    objective.options["noise_offset"] = float(arguments.get("noise_offset", 0.0))
    _note_unmodelled(objective, arguments, AUGMENTATIONS if replayed else ())
    return objective


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
        objective.scheduler = edm_style(scheduler)
        objective.options["weight"] = weightings.sigma_sqrt()
    elif gamma is not None and prediction_type == "v_prediction" and arguments.script in ADDING_ONE:
        objective.options["weight"] = weightings.min_snr_plus_one(float(gamma))
    elif gamma is not None:
        objective.options["weight"] = weightings.min_snr(float(gamma))
    elif prediction_type == "sample" and arguments.script == UNCONDITIONAL:
        objective.options["weight"] = weightings.snr()
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


def _note_unmodelled(objective: Objective, arguments: Arguments, replayed: Sequence[str]) -> None:
    for name, meaning in UNMODELLED.items():
        if arguments.get(name) and name not in replayed:
            objective.note(NOT_MODELLED, name, meaning)
    if arguments.get("with_prior_preservation"):
        objective.note(
            NOT_MODELLED,
            "with_prior_preservation",
            "half of every batch were class images. Append them to the training set, each with a "
            f"field loss_weight of {arguments.get('prior_loss_weight', 1.0)}",
        )
