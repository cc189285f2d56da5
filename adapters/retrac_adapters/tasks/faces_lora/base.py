"""The base that is fine-tuned: trained once, and shipped, so that all tune the very same one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from safetensors.torch import save_file
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.training import train_once
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.files import write_atomically

NAME = "base.safetensors"
SIDE = 16

ATTENDING = {
    "sample_size": SIDE,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "dropout": 0.0,
}
"""A network of 176,569 parameters, which attends at 8x8 and 4x4."""


@dataclass(frozen=True, eq=False)
class Base:
    """A network that adapters are put into.

    Attributes:
        arguments: Of diffusers' ``UNet2DModel``.
        weights: Its state dict.
        digest: Of the file that the weights are from.
    """

    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    digest: str

    def build(self) -> UNet2DModel:
        """Return the network, none of whose parameters is trained."""
        network = UNet2DModel(**self.arguments)
        network.load_state_dict(self.weights)
        return network.requires_grad_(False)


def read(path: Path, arguments: Mapping[str, Any]) -> Base:
    """Read what ``train`` wrote.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    weights = {name: value.float() for name, value in read_weights(path).items()}
    return Base(arguments, weights, hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def train(images: Tensor, recipe: Recipe, directory: Path) -> Path:
    """Train a base, unless that was done, and return its file: weights of half precision.

    Args:
        images: The training set ``[N, C, H, W]``.
        recipe: How.
        directory: Where it is kept.
    """
    train_once(images, recipe, directory / "base")
    last = retrac.read_run(directory / "base").checkpoints[-1]
    half = {name: value.half().contiguous() for name, value in last.load().items()}
    path = directory / NAME
    write_atomically(path, partial(save_file, half))
    return path
