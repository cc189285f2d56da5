"""What Stable Diffusion XL is told of an image's size and crop, as its scripts tell it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrac_adapters.images.framing import Framing
from retrac_plugin.data.packed import Packed
from retrac_plugin.data.pictures import opened

POOLED, ADDED = "text_embeds", "added_cond_kwargs"


def time_ids_of(path: Path | Packed, framing: Framing) -> Tensor:
    """Return an image's height and width, top and left of its crop, and the crop's size: ``[6]``.

    Raises:
        InputError: If it cannot be read.
    """
    with opened(path, "latents") as image:
        width, height = image.size
    left, top, _, _ = framing.box(framing.resized((width, height)))
    return torch.tensor([height, width, top, left, framing.resolution, framing.resolution]).float()


def time_ids_of_latent(framing: Framing) -> Tensor:
    """Return the same of an image as large as the crop, as pictures are generated."""
    side = framing.resolution
    return torch.tensor([side, side, 0, 0, side, side]).float()


def with_time_ids(told: Mapping[str, Any], time_ids: Tensor) -> dict[str, Any]:
    """Return what SDXL is told: pooled captions and time ids are side by side."""
    rest = {name: value for name, value in told.items() if name != POOLED}
    return {**rest, ADDED: {POOLED: told[POOLED], "time_ids": time_ids}}
