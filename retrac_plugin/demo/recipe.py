"""How the demo's model is trained and sampled: plain values, and the functions that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

OnCheckpoint = Callable[[int], None]
"""Called with the number of steps done, whenever a checkpoint is due."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how the demo's model is trained and sampled.

    Attributes:
        network: Arguments of diffusers' `UNet2DModel`.
        scheduler: Arguments of diffusers' `DDPMScheduler`, for training and sampling alike.
        steps: Number of training steps.
        batch_size: Images per step; an epoch's last batch may be smaller.
        learning_rate: Adam's learning rate between warm-up and decay.
        warmup_steps: Steps of linear warm-up.
        decay_start: Step from which the learning rate falls linearly.
        final_learning_rate: Learning rate that the decay ends at.
        checkpoint_steps: Numbers of steps after which a checkpoint is due.
        seed: Seed of the initial weights, the order of the images, the timesteps and the noise.
        sampling_steps: Denoising steps of a generated image.
    """

    network: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    decay_start: int
    final_learning_rate: float
    checkpoint_steps: tuple[int, ...]
    seed: int
    sampling_steps: int

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if step < self.decay_start:
            return self.learning_rate
        share = (step - self.decay_start) / max(1, self.steps - self.decay_start)
        return self.learning_rate + share * (self.final_learning_rate - self.learning_rate)


def _small_network(channels: tuple[int, int]) -> dict[str, Any]:
    """Return the arguments of a two-level network for 8x8 images, attending in its middle only."""
    return {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "norm_num_groups": 8,
        "attention_head_dim": 8,
        "dropout": 0.0,
    }


_NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "timestep_spacing": "leading",
}

DEMO = Recipe(
    network=_small_network((16, 32)),
    scheduler=_NOISE_SCHEDULE,
    steps=3000,
    batch_size=128,
    learning_rate=3e-3,
    warmup_steps=100,
    decay_start=2000,
    final_learning_rate=3e-4,
    checkpoint_steps=(600, 1200, 1800, 2400, 3000),
    seed=0,
    sampling_steps=100,
)
"""Legible digits after about a minute of training on two CPU cores."""

QUICK = Recipe(
    network=_small_network((8, 8)),
    scheduler=_NOISE_SCHEDULE,
    steps=20,
    batch_size=32,
    learning_rate=3e-3,
    warmup_steps=2,
    decay_start=14,
    final_learning_rate=3e-4,
    checkpoint_steps=(10, 20),
    seed=0,
    sampling_steps=5,
)
"""For tests: trains in about a second, and its images look like nothing."""


def build_network(recipe: Recipe) -> nn.Module:
    """Return the untrained network; the recipe's seed decides its weights.

    PyTorch's global random state is left as it was.
    """
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network: nn.Module = UNet2DModel(**recipe.network)
    return network


def build_scheduler(recipe: Recipe) -> Any:
    """Return a fresh noise scheduler, used for training as well as for sampling."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**recipe.scheduler)


def train(
    network: nn.Module,
    scheduler: Any,
    images: Tensor,
    recipe: Recipe,
    on_checkpoint: OnCheckpoint | None = None,
) -> None:
    """Train the network in place to predict the noise in noised images.

    Args:
        network: What `build_network` returned.
        scheduler: What `build_scheduler` returned.
        images: The training set, [N, 1, H, W].
        recipe: The training's values.
        on_checkpoint: Called whenever a checkpoint is due, with the number of steps done.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = _batches(len(images), recipe.batch_size, generator)
    network.train()
    progress = tqdm(range(recipe.steps), desc="training", unit="step")
    for step in progress:
        ids = next(batches)
        clean = images[ids]
        timesteps = torch.randint(
            scheduler.config.num_train_timesteps, (len(ids),), generator=generator
        )
        noise = torch.randn(clean.shape, generator=generator)
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(step)
        noised = scheduler.add_noise(clean, noise, timesteps)
        loss = functional.mse_loss(network(noised, timesteps).sample, noise)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if on_checkpoint is not None and step + 1 in recipe.checkpoint_steps:
            on_checkpoint(step + 1)
    network.eval()


@torch.no_grad()
def generate(network: nn.Module, scheduler: Any, recipe: Recipe, count: int, seed: int) -> Tensor:
    """Generate images; each starts from, and is denoised with, noise that the seed decides.

    Args:
        network: The trained network.
        scheduler: What `build_scheduler` returned.
        recipe: Says how many denoising steps are taken.
        count: Number of images.
        seed: Seed of all the noise.

    Returns:
        float32 tensor of shape [count, channels, H, W] with values in [-1, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    side = recipe.network["sample_size"]
    images = torch.randn(count, recipe.network["in_channels"], side, side, generator=generator)
    scheduler.set_timesteps(recipe.sampling_steps)
    network.eval()
    for timestep in tqdm(scheduler.timesteps, desc="generating", unit="step"):
        predicted = network(images, timestep).sample
        images = scheduler.step(predicted, timestep, images, generator=generator).prev_sample
    return images.clamp(-1, 1)


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of batch after batch without end, each epoch in a new random order."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from (order[start : start + batch_size] for start in range(0, count, batch_size))
