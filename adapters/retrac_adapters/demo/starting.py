"""What a training starts from, and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Start:
    """What a training starts from, and what it leaves on disk.

    Attributes:
        network: ``seed -> network`` in training mode. What of it requires gradients is trained.
        save: Writes a checkpoint's weights: ``(network, checkpoint folder)``.
        read: Reads a run back: ``folder -> run``.
        about: What else tells this start from others, to be written beside the recipe.
    """

    network: Callable[[int], Any]
    save: Callable[[Any, Path], None]
    read: Callable[[Path], retrac.Run]
    about: Mapping[str, Any] = field(default_factory=dict)


def from_scratch(recipe: Recipe) -> Start:
    """Return a start from random weights, all of which are trained."""

    def network(seed: int) -> UNet2DModel:
        # PyTorch's global random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return UNet2DModel(**recipe.network)

    return Start(network, _save_whole, retrac.read_run)


def _save_whole(network: UNet2DModel, checkpoint: Path) -> None:
    network.save_pretrained(checkpoint / "unet")
