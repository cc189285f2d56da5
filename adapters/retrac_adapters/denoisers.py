"""How denoisers are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import ModelMixin, UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from retrac_plugin.preconditioning import Conditions, Predict

UNETS = (UNet2DModel, UNet2DConditionModel)


def predict_with(network: Any) -> Predict | None:
    """Return how to call a denoiser, or None if it is unknown.

    Known are diffusers' U-Nets, bare or inside peft, and torch modules of one's own that are called
    as ``(noisy, timesteps, **conditions)`` and return the prediction itself.
    """
    model = network.get_base_model() if hasattr(network, "get_base_model") else network
    if isinstance(model, UNETS):
        return _predict_with_unet
    if isinstance(model, nn.Module) and not isinstance(model, ModelMixin):
        return _predict_plainly
    return None


def _predict_with_unet(
    call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
) -> Tensor:
    prediction: Tensor = call(noisy, timesteps, return_dict=False, **conditions)[0]
    return prediction


def _predict_plainly(
    call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
) -> Tensor:
    prediction: Tensor = call(noisy, timesteps, **conditions)
    return prediction
