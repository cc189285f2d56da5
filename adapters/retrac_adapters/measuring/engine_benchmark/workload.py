"""The networks and samples that are timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.func import functional_call

from retrac_plugin.gradients.engine import Batch, Parameters
from retrac_plugin.gradients.layout import Layout

DRAWS = 16
"""Noise draws per (query, timestep), as in the official code."""


@dataclass(frozen=True)
class Size:
    """A U-Net with attention at its second level.

    Attributes:
        name: How it is called.
        options: What makes the network, beside 3 channels and the attention.
        channels: Of each level.
        batch: Training samples per pass.
    """

    name: str
    channels: tuple[int, ...]
    image: int
    batch: int
    options: dict[str, Any]

    def network(self) -> nn.Module:
        """Return the network, seeded."""
        levels = len(self.channels)
        down = ["AttnDownBlock2D" if level == 1 else "DownBlock2D" for level in range(levels)]
        up = [kind.replace("Down", "Up") for kind in reversed(down)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = UNet2DModel(
                sample_size=self.image,
                in_channels=3,
                out_channels=3,
                layers_per_block=2,
                block_out_channels=self.channels,
                down_block_types=tuple(down),
                up_block_types=tuple(up),
                **self.options,
            )
        return network.eval()


_SMALL_HEADS = {"norm_num_groups": 16, "attention_head_dim": 8}
_DDPM = {
    "norm_num_groups": 32,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}

SIZES = {
    size.name: size
    for size in (
        Size("1.0 M", (32, 64), image=16, batch=64, options=_SMALL_HEADS),
        Size("6.5 M", (64, 128, 128), image=32, batch=16, options=_SMALL_HEADS),
        # The configuration of google/ddpm-cifar10-32.
        Size("35.7 M", (128, 256, 256, 256), image=32, batch=8, options=_DDPM),
    )
}


class Workload:
    """A size's network with noisy samples, in float32."""

    def __init__(self, size: Size) -> None:
        self.size, self.network = size, size.network()
        self.parameters = {n: p.detach() for n, p in self.network.named_parameters()}
        self.layout = Layout(self.parameters)

    def losses(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return each sample's mean squared error, ``[sample]``."""
        noisy, timesteps, noise = batch
        arguments = (noisy, timesteps)
        prediction = functional_call(self.network, dict(parameters), arguments).sample
        losses: Tensor = (prediction - noise).square().flatten(1).mean(1)
        return losses

    def batch(self, samples: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return noisy samples, timesteps and noise."""
        generator = torch.Generator().manual_seed(seed)
        shape = (samples, 3, self.size.image, self.size.image)
        noisy, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        return noisy, torch.randint(1000, (samples,), generator=generator), noise

    @cached_property
    def leaves(self) -> dict[str, Tensor]:
        """The parameters as a training step sees them."""
        return {name: value.clone().requires_grad_() for name, value in self.parameters.items()}

    def plain(self, batch: Batch) -> None:
        """Run a training step's forward and backward pass."""
        torch.autograd.grad(self.losses(self.leaves, batch).mean(), list(self.leaves.values()))
