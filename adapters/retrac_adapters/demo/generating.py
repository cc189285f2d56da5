"""Generates the demo's pictures with a diffusers scheduler."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from retrac_adapters.demo.recipe import Recipe
from retrac_plugin.progress import over


def generate(run: Path, recipe: Recipe, count: int, seed: int) -> Tensor:
    """Return pictures ``[count, C, H, W]`` in [-1, 1], drawn by the run's last checkpoint.

    Args:
        run: The run's folder.
        recipe: Says how many denoising steps are taken.
        count: Number of pictures.
        seed: Decides the noise that each starts from and is denoised with.
    """
    last = run / f"checkpoint-{recipe.checkpoint_steps[-1]}"
    network = UNet2DModel.from_pretrained(last, subfolder="unet").eval()
    scheduler = DDPMScheduler.from_pretrained(run / "scheduler")
    return sample(network, scheduler, recipe, count, seed)


@torch.no_grad()
def sample(
    network: UNet2DModel,
    scheduler: DDPMScheduler,
    recipe: Recipe,
    count: int,
    seed: int,
    shown: bool | None = None,
) -> Tensor:
    """Return pictures that a network draws; see ``generate``, and ``progress.bar``."""
    generator = torch.Generator().manual_seed(seed)
    side, channels = recipe.network["sample_size"], recipe.network["in_channels"]
    pictures = torch.randn(count, channels, side, side, generator=generator)
    scheduler.set_timesteps(recipe.sampling_steps)
    for timestep in over(scheduler.timesteps, "generating", shown=shown):
        predicted = network(pictures, timestep).sample
        pictures = scheduler.step(predicted, timestep, pictures, generator=generator).prev_sample
    return pictures.clamp(-1, 1)
