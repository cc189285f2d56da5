"""How Flux is called: patches of 2 x 2 latents side by side, each with its place in the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.model.preconditioning import Conditions, Predict

GUIDANCE_SCALE = 3.5
"""The scripts' default ``--guidance_scale``."""

TIME_UNIT = 1000
"""The scripts divide the timestep by it, since the network multiplies by it."""


def predict_with_flux(has_guidance: bool, guidance_scale: float = GUIDANCE_SCALE) -> Predict:
    """Return how to call a Flux transformer.

    An example's conditions are ``encoder_hidden_states [text, width]``, ``pooled_projections
    [width]`` and optionally, for a guidance-distilled model, ``guidance []``; all as in
    ``train_dreambooth_lora_flux.py``.

    Args:
        has_guidance: ``guidance_embeds`` of the network's configuration.
        guidance_scale: Where an example has no ``guidance`` of its own.
    """

    def predict(
        call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        given = dict(conditions)
        if has_guidance:
            given.setdefault("guidance", noisy.new_full((noisy.shape[0],), guidance_scale))
        output = call(
            hidden_states=pack(noisy),
            timestep=timesteps / TIME_UNIT,
            txt_ids=noisy.new_zeros(given["encoder_hidden_states"].shape[1], 3),
            img_ids=_positions(noisy),
            return_dict=False,
            **given,
        )[0]
        return unpack(output, noisy.shape)

    return predict


def pack(latents: Tensor) -> Tensor:
    """Return latents ``[sample, C, H, W]`` as patches ``[sample, H/2 * W/2, 4 C]``."""
    _, channels, height, width = latents.shape
    squares = latents.reshape(-1, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(-1, height * width // 4, channels * 4)


def unpack(patches: Tensor, shape: torch.Size) -> Tensor:
    """Return patches as latents of a shape; the inverse of ``pack``."""
    _, channels, height, width = shape
    squares = patches.reshape(-1, height // 2, width // 2, channels, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)


def _positions(latents: Tensor) -> Tensor:
    """Return ``(0, row, column)`` of each patch, ``[H/2 * W/2, 3]``."""
    rows, columns = (torch.arange(n // 2, device=latents.device) for n in latents.shape[2:])
    grid = torch.cartesian_prod(rows.new_zeros(1), rows, columns)
    return grid.to(latents.dtype)
