"""What is attributed on a GPU: networks with seeded weights, and seeded images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from retrac_plugin.attribution.attributors import DiffusionReTrac
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Strided, Uniform
from retrac_plugin.model.wrapping import wrap

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "channels": (8, 8),
        "pixels": 8,
        "layers": 1,
        "train": 4,
        "queries": 2,
        "groups": 4,
        "batches": (4,),
        "blocks": (23,),
    },
    "small": {
        "channels": (64, 128, 128),
        "pixels": 32,
        "layers": 2,
        "train": 512,
        "queries": 4,
        "groups": 16,
        "batches": (32, 128),
        "blocks": (19, 21, 23, 25),
    },
    "cifar": {
        "channels": (128, 256, 256, 256),
        "pixels": 32,
        "layers": 2,
        "train": 512,
        "queries": 4,
        "groups": 32,
        "batches": (32, 128),
        "blocks": (19, 21, 23, 25),
    },
}
"""``small``: 6.5 million parameters; ``cifar``: the CIFAR-10 DDPM's U-Net, 35.7 million."""

CHECKED = 8
"""Training samples that are also scored on the CPU, which is slow."""


def moved(network: nn.Module, device: str, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network elsewhere; by torch's own way, which diffusers has words about."""
    return nn.Module.to(copy.deepcopy(network), device, dtype)


@dataclass(frozen=True)
class Setting:
    """What is attributed."""

    network: UNet2DModel
    train: Tensor
    queries: Tensor
    batches: tuple[int, ...]
    blocks: tuple[int, ...]
    """Powers of two: numbers in a block of gradients."""

    def attribution(
        self, device: str, dtype: torch.dtype, checkpoints: int = 1, **options: Any
    ) -> DiffusionReTrac:
        """Return an attributor in a type; the data stay as they are, since draws hang on them."""
        network = moved(self.network, device, dtype)
        state = {name: value.to(dtype) for name, value in self.network.state_dict().items()}
        return DiffusionReTrac(
            wrap(network, DDPMScheduler()),
            [Checkpoint(state, 1.0, 10 * k) for k in range(1, 1 + checkpoints)],
            train_draws=Uniform(1, seed=1),
            query_draws=Strided(2, noise_draws=2, seed=2),
            device=device,
            progress=False,
            **options,
        )

    def scores(self, device: str, dtype: torch.dtype, batch_size: int = 32) -> Tensor:
        """Return the scores ``[query, train]`` of the samples that are checked, in float64."""
        attributor = self.attribution(device, dtype, batch_size=batch_size)
        return attributor.attribute(self.train[:CHECKED], self.queries).values.double().cpu()


def setting_of(size: str) -> Setting:
    """Return a network with seeded weights, and seeded images."""
    chosen = SIZES[size]
    channels = chosen["channels"]
    attention = len(channels) > 2  # at half the size, as in the CIFAR-10 model
    kinds = ["Attn" * (attention and i == 1) for i in range(len(channels))]
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=chosen["pixels"],
        in_channels=3,
        out_channels=3,
        layers_per_block=chosen["layers"],
        block_out_channels=channels,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        norm_num_groups=chosen["groups"],
        attention_head_dim=None if attention else 8,
    ).eval()
    count = chosen["train"] + chosen["queries"]
    images = torch.rand(count, 3, chosen["pixels"], chosen["pixels"]) * 2 - 1
    batches, blocks = chosen["batches"], chosen["blocks"]
    return Setting(network, images[: chosen["train"]], images[chosen["train"] :], batches, blocks)
