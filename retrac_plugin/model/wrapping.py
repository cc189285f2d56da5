"""``wrap``: asks the adapters how a third party's denoiser and noise scheduler are used."""

from __future__ import annotations

from typing import Any

from torch import nn

from retrac_plugin import plugins
from retrac_plugin.errors import PluginError
from retrac_plugin.hookspecs import WrappedModel
from retrac_plugin.model.calling import seen_through
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import Loss
from retrac_plugin.model.preconditioning import Predict
from retrac_plugin.model.weightings import TimestepWeight, Weighting


def wrap(
    network: Any,
    scheduler: Any,
    loss: Loss = "mse",
    weight: TimestepWeight | Weighting | None = None,
    *,
    predict: Predict | None = None,
    **objective: Any,
) -> DiffusionModel:
    """Return ``network`` and ``scheduler`` as one timestep-aware model.

    Args:
        network: A denoiser, such as a diffusers ``UNet2DModel``; inside ``torch.compile``,
            ``DataParallel`` or ``DistributedDataParallel`` it is seen through.
        scheduler: The noise scheduler it was *trained* with, or a ``NoiseSchedule``.
        loss: ``"mse"``, ``"l1"``, ``"huber"``, ``"smooth_l1"``, or a function
            ``(prediction, target) -> elementwise loss``.
        weight: Optional weight of the loss at each timestep: ``timesteps -> weights``, or one of
            ``retrac_plugin.weightings``.
        predict: How to call a network that no adapter knows,
            ``(call, noisy, timesteps, conditions) -> prediction``; ``call`` is the network.
        **objective: What else training did: ``timestep_distribution``, one of
            ``retrac_plugin.distributions``, and ``noise_offset``, as of the diffusers scripts.

    Raises:
        PluginError: If no installed adapter knows the pair.
        InputError: If the loss or the scheduler's prediction type is unknown.
    """
    network = seen_through(network)
    # Where the call is given, only the scheduler must be known: any module stands for the network.
    known_by = network if predict is None else nn.Module()
    manager = plugins.plugin_manager()
    wrapped = plugins.first_answer(
        "retrac_wrap_model", WrappedModel, network=known_by, scheduler=scheduler
    )
    if wrapped is None:
        asked = ", ".join(sorted(name for name, _ in manager.list_name_plugin()))
        raise PluginError(
            f"no adapter knows {_type_name(network)} with {_type_name(scheduler)}; asked: {asked}. "
            "Expected a torch module with a diffusers scheduler or a retrac_plugin NoiseSchedule; "
            "pass predict= to say how another network is called, or install or write a plugin that "
            "answers retrac_wrap_model"
        )
    predict, schedule = predict or wrapped.predict, wrapped.schedule
    return DiffusionModel.build(network, predict, schedule, loss, weight, **objective)


def _type_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
