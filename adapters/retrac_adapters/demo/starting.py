"""What a training starts from, what it makes small, and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn import functional

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe

Criterion = Callable[..., Tensor]
"""``(prediction, target) -> mean loss``; of each element with ``reduction="none"``."""

CRITERIA: Mapping[str, Criterion] = {"mse": functional.mse_loss, "l1": functional.l1_loss}
"""By the names that ``retrac_plugin.wrap`` knows them by."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a training starts from, what it makes small, and what it leaves on disk.

    Attributes:
        network: ``seed -> network`` in training mode. What of it requires gradients is trained.
        save: Writes a checkpoint's weights: ``(network, checkpoint folder)``.
        read: Reads a run back: ``folder -> run``.
        about: What else tells this start from others, to be written beside the recipe.
        criterion: The loss of the predicted noise.
    """

    network: Callable[[int], Any]
    save: Callable[[Any, Path], None]
    read: Callable[[Path], retrac.Run]
    about: Mapping[str, Any] = field(default_factory=dict)
    criterion: Criterion = CRITERIA["mse"]


def from_scratch(recipe: Recipe, loss: str = "mse") -> Start:
    """Return a start from random weights, all of which are trained.

    Args:
        recipe: Says what network.
        loss: A key of ``CRITERIA``.
    """

    def network(seed: int) -> UNet2DModel:
        # PyTorch's global random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return UNet2DModel(**recipe.network)

    about = {} if loss == "mse" else {"loss": loss}  # runs of before it was told are still known
    read = partial(retrac.read_run, loss=loss)
    return Start(network, _save_whole, read, about, CRITERIA[loss])


def _save_whole(network: UNet2DModel, checkpoint: Path) -> None:
    network.save_pretrained(checkpoint / "unet")
