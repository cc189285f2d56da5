"""How the models of retrained tasks are trained, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrac_adapters.demo.recipe import Recipe

BATCH_SIZE = 32
CHECKPOINTS = 5

CHANNELS = (8, 16)
"""Of a network for 8x8 images, of 40,489 parameters for one color channel.

One of them is retrained in seconds on one CPU core.
"""

NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "timestep_spacing": "leading",
}


def network(side: int, color_channels: int, channels: tuple[int, ...]) -> dict[str, Any]:
    """Return arguments of diffusers' UNet2DModel, without attention.

    Args:
        side: Height and width of the images.
        color_channels: Of the images.
        channels: Of each level.
    """
    return {
        "sample_size": side,
        "in_channels": color_channels,
        "out_channels": color_channels,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D",) * len(channels),
        "up_block_types": ("UpBlock2D",) * len(channels),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "add_attention": False,
        "dropout": 0.0,
    }


def recipe_for(
    images: int,
    seed: int,
    epochs: int,
    network: Mapping[str, Any],
    *,
    batch_size: int = BATCH_SIZE,
    learning_rates: tuple[float, float] = (3e-3, 3e-4),
) -> Recipe:
    """Return the recipe for a training set of a given size: always the same number of epochs.

    Args:
        images: A multiple of ``batch_size``, so that every batch is full.
        seed: Of the initial weights, the order of the images, the timesteps and the noise.
        epochs: Passes over the training set.
        network: Arguments of diffusers' UNet2DModel.
        batch_size: Images a step.
        learning_rates: After warming up, and at the end.
    """
    steps = epochs * (images // batch_size)
    return Recipe(
        network=network,
        scheduler=NOISE_SCHEDULE,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rates[0],
        warmup_steps=steps // 20,
        decay_start=2 * steps // 3,
        final_learning_rate=learning_rates[1],
        checkpoint_steps=tuple(steps * (k + 1) // CHECKPOINTS for k in range(CHECKPOINTS)),
        seed=seed,
        sampling_steps=100,
    )
