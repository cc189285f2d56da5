"""What is attributed on a GPU: networks with seeded weights, and seeded images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from retrac_adapters.demo.recipe import DEMO, QUICK, Recipe
from retrac_adapters.measuring.engine_benchmark.workload import SIZES, Size
from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_plugin.attribution.attributors import DiffusionReTrac
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Strided, Uniform
from retrac_plugin.model.wrapping import wrap

CHECKED = 8
"""Training images that are also scored on the CPU, which is slow."""


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        sizes: Of networks, the largest last.
        train: Training images.
        queries: Query images.
        batches: Samples in a batch, the usual number first.
        blocks: Powers of two: numbers in a block of gradients.
        calls: How often an attribution is called, to see what stays behind.
        recipe: Of the demo.
        demo_images: How many of the demo's training images are attributed.
        demo_queries: How many of them, mirrored, are asked about.
        demo_timesteps: At how many timesteps.
        demo_steps: Training steps of the demo, which is trained here.
    """

    sizes: tuple[Size, ...]
    train: int
    queries: int
    batches: tuple[int, ...]
    blocks: tuple[int, ...]
    calls: int
    recipe: Recipe
    demo_images: int
    demo_queries: int
    demo_timesteps: int
    demo_steps: int


_TINY = Size(
    "tiny", (8,), image=8, batch=2, options={"norm_num_groups": 4, "attention_head_dim": 4}
)

SCALES = {
    "full": Scale(
        sizes=tuple(SIZES.values()),
        train=512,
        queries=10,
        batches=(32, 8, 128),
        blocks=(19, 21, 23, 25),
        calls=10,
        recipe=DEMO,
        demo_images=1200,
        demo_queries=16,
        demo_timesteps=10,
        demo_steps=DEMO.steps,
    ),
    "tiny": Scale(
        sizes=(_TINY,),
        train=3,
        queries=1,
        batches=(2,),
        blocks=(23,),
        calls=2,
        recipe=QUICK,
        demo_images=4,
        demo_queries=1,
        demo_timesteps=1,
        demo_steps=1,
    ),
}
"""``tiny`` is for trying the command itself."""


def moved(network: nn.Module, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network elsewhere; by torch's own way, which diffusers has words about."""
    return nn.Module.to(copy.deepcopy(network), device, dtype)


@dataclass(frozen=True)
class Setting:
    """What is attributed.

    Attributes:
        network: With seeded weights, on the CPU in float32.
        train: Images ``[sample, C, H, W]``.
        queries: Likewise.
        clock: Who says when time is up.
    """

    network: nn.Module
    train: Tensor
    queries: Tensor
    clock: Clock

    @classmethod
    def of(cls, size: Size, scale: Scale, clock: Clock) -> Setting:
        """Return a network of a size, and images for it."""
        generator = torch.Generator().manual_seed(0)
        shape = (scale.train + scale.queries, 3, size.image, size.image)
        images = torch.rand(shape, generator=generator) * 2 - 1
        return cls(size.network(), images[: scale.train], images[scale.train :], clock)

    def attribution(
        self, device: torch.device | str, dtype: torch.dtype, checkpoints: int = 1, **options: Any
    ) -> DiffusionReTrac:
        """Return an attributor in a type; the data stay as they are, since draws hang on them."""
        state = {name: value.to(dtype) for name, value in self.network.state_dict().items()}
        return DiffusionReTrac(
            wrap(moved(self.network, device, dtype), DDPMScheduler()),
            [Checkpoint(state, 1.0, 10 * k) for k in range(1, 1 + checkpoints)],
            train_draws=Uniform(1, seed=1),
            query_draws=Strided(1, noise_draws=2, seed=2),
            device=device,
            progress=self.clock.bar,
            **options,
        )

    def scores(
        self, device: torch.device | str, dtype: torch.dtype, batch_size: int = 32
    ) -> Tensor:
        """Return the scores ``[query, train]`` of the images that are checked, in float64."""
        attributor = self.attribution(device, dtype, batch_size=batch_size)
        return attributor.attribute(self.train[:CHECKED], self.queries).values.double().cpu()
