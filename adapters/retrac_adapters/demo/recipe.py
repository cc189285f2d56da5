"""How the demo's model is trained and sampled, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrac_adapters.demo.data import SIDE


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


def _small_network(channels: tuple[int, ...], groups: int) -> dict[str, Any]:
    """Return the arguments of a network for colour images of 16x16, attending in its middle only.

    A group must hold several channels: normalising one alone takes the timestep's shift away again.
    """
    return {
        "sample_size": SIDE,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D",) * len(channels),
        "up_block_types": ("UpBlock2D",) * len(channels),
        "norm_num_groups": groups,
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
    network=_small_network((16, 32, 64), groups=8),
    scheduler=_NOISE_SCHEDULE,
    steps=900,
    batch_size=40,
    learning_rate=2e-3,
    warmup_steps=40,
    decay_start=450,
    final_learning_rate=1e-4,
    checkpoint_steps=(225, 450, 675, 900),
    seed=0,
    sampling_steps=100,
)
"""Petals, roofs and sleeves after two or three minutes of training on one CPU core."""

QUICK = Recipe(
    network=_small_network((8, 8), groups=4),
    scheduler=_NOISE_SCHEDULE,
    steps=12,
    batch_size=200,
    learning_rate=3e-3,
    warmup_steps=2,
    decay_start=8,
    final_learning_rate=3e-4,
    checkpoint_steps=(6, 12),
    seed=0,
    sampling_steps=5,
)
"""For tests: trains in about a second, and its images look like nothing."""

RECIPES = {"demo": DEMO, "quick": QUICK}
"""What ``retrac demo --recipe`` offers."""
