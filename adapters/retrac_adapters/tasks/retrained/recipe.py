"""How the models of retrained tasks are trained, as plain values."""

from __future__ import annotations

from typing import Any

from retrac_adapters.demo.recipe import Recipe

BATCH_SIZE = 32
CHECKPOINTS = 5

NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "timestep_spacing": "leading",
}


def network(color_channels: int) -> dict[str, Any]:
    """Return a UNet2DModel for 8x8 images, of 40,489 parameters for one color channel.

    One of them is retrained in seconds on one CPU core.
    """
    return {
        "sample_size": 8,
        "in_channels": color_channels,
        "out_channels": color_channels,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "add_attention": False,
        "dropout": 0.0,
    }


def recipe_for(images: int, seed: int, epochs: int, color_channels: int = 1) -> Recipe:
    """Return the recipe for a training set of a given size: always the same number of epochs.

    Args:
        images: A multiple of ``BATCH_SIZE``, so that every batch is full.
        seed: Of the initial weights, the order of the images, the timesteps and the noise.
        epochs: Passes over the training set.
        color_channels: Of the images.
    """
    steps = epochs * (images // BATCH_SIZE)
    return Recipe(
        network=network(color_channels),
        scheduler=NOISE_SCHEDULE,
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=3e-3,
        warmup_steps=steps // 20,
        decay_start=2 * steps // 3,
        final_learning_rate=3e-4,
        checkpoint_steps=tuple(steps * (k + 1) // CHECKPOINTS for k in range(CHECKPOINTS)),
        seed=seed,
        sampling_steps=100,
    )
