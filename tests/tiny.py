"""A tiny diffusion model with everything that attribution needs, for tests without golden data."""

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

import retrac_plugin as retrac


@dataclass(frozen=True, eq=False)
class TinyCase:
    model: retrac.DiffusionModel
    checkpoints: list[retrac.Checkpoint]
    train: Tensor
    queries: Tensor


def tiny_case(num_train: int = 7, num_queries: int = 3) -> TinyCase:
    """Return a seeded float64 U-Net, two checkpoints of it, and 8x8 images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        states = [tiny_network().state_dict() for _ in range(2)]
        images = torch.rand(num_train + num_queries, 1, 8, 8, dtype=torch.float64) * 2 - 1
        model = retrac.wrap(tiny_network(), DDPMScheduler())
    return TinyCase(
        model=model,
        checkpoints=[
            retrac.Checkpoint(state, step_size, step)
            for state, step_size, step in zip(states, (0.5, 0.25), (10, 20), strict=True)
        ],
        train=images[:num_train],
        queries=images[num_train:],
    )


def tiny_network() -> UNet2DModel:
    """Return the network, in float64, with weights that torch draws."""
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
        attention_head_dim=4,
    )
    return network.double().eval()
