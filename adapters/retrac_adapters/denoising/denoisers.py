"""How denoisers are called, each as its training script calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import (
    DiTTransformer2DModel,
    FluxTransformer2DModel,
    ModelMixin,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import Tensor, nn

from retrac_adapters.denoising.casting import WithoutCasting
from retrac_adapters.denoising.flux import predict_with_flux
from retrac_plugin.errors import InputError
from retrac_plugin.model.preconditioning import Conditions, Predict

UNETS = (UNet2DModel, UNet2DConditionModel)
TRANSFORMERS = (DiTTransformer2DModel, PixArtTransformer2DModel, SD3Transformer2DModel)


def predict_with(network: Any) -> Predict | None:
    """Return how to call a denoiser, or None if it is unknown.

    Known are diffusers' U-Nets, DiT, PixArt, SD3 and Flux, each bare or inside peft, and torch
    modules of one's own that are called as ``(noisy, timesteps, **conditions)`` and return the
    prediction itself.
    """
    model = network.get_base_model() if hasattr(network, "get_base_model") else network
    predict = _predict_of(model)
    if predict is None or not isinstance(model, ModelMixin):
        return predict
    return WithoutCasting(model, predict)


def _predict_of(model: Any) -> Predict | None:
    if isinstance(model, FluxTransformer2DModel):
        return predict_with_flux(model.config.guidance_embeds)
    if isinstance(model, UNETS):
        return _predict_with_unet
    if isinstance(model, TRANSFORMERS):
        return _predict_with_transformer
    if isinstance(model, nn.Module) and not isinstance(model, ModelMixin):
        return _predict_plainly
    return None


def predict_with_timesteps_as_labels(network: Any) -> Predict:
    """Return how to call a U-Net that is told the timesteps as class labels too.

    That is ``--class_labels_conditioning timesteps`` of the DreamBooth scripts.

    Raises:
        InputError: If it is no denoiser that is known.
    """
    known = predict_with(network)
    if known is None:
        raise InputError(f"class_labels_conditioning: {type(network).__name__} is not known")
    predict: Predict = known

    def told(
        call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        return predict(call, noisy, timesteps, {**conditions, "class_labels": timesteps})

    return told


def _predict_with_unet(
    call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
) -> Tensor:
    return _mean(call(noisy, timesteps, return_dict=False, **conditions)[0], noisy)


def _predict_with_transformer(
    call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
) -> Tensor:
    output = call(hidden_states=noisy, timestep=timesteps, return_dict=False, **conditions)[0]
    return _mean(output, noisy)


def _mean(output: Tensor, noisy: Tensor) -> Tensor:
    """Drop the second half of the channels, where a model also learns the variance.

    The scripts train it by the simple loss of the mean alone.
    """
    return output.chunk(2, dim=1)[0] if output.shape[1] == 2 * noisy.shape[1] else output


def _predict_plainly(
    call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
) -> Tensor:
    prediction: Tensor = call(noisy, timesteps, **conditions)
    return prediction
