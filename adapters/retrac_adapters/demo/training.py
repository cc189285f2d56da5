"""Trains the demo's model with the recorder, and leaves a run as diffusers' own scripts do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from retrac_adapters.demo.recipe import Recipe
from retrac_plugin import Recorder
from retrac_plugin.files import write_atomically

FINISHED = "recipe.json"
"""Written last: a run that holds it is complete."""


def train_once(images: Tensor, recipe: Recipe, directory: Path) -> bool:
    """Train and save a run, unless the folder already holds one of the same recipe.

    Args:
        images: The training set ``[N, C, H, W]``.
        recipe: What to train, and how.
        directory: The run's folder; an unfinished or different run in it is replaced.

    Returns:
        Whether it was trained now.
    """
    marker = directory / FINISHED
    text = json.dumps(asdict(recipe), indent=2)
    if marker.is_file() and marker.read_text() == text:
        return False
    for old in (*directory.glob("checkpoint-*"), directory / "scheduler"):
        shutil.rmtree(old, ignore_errors=True)
    marker.unlink(missing_ok=True)
    train(images, recipe, directory)
    write_atomically(marker, lambda path: path.write_text(text))
    return True


def train(images: Tensor, recipe: Recipe, directory: Path) -> None:
    """Train a U-Net to predict the noise in noised images, recording every visit."""
    network = _build_network(recipe)
    scheduler = DDPMScheduler(**recipe.scheduler)
    scheduler.save_pretrained(directory / "scheduler")
    recorder = Recorder(num_samples=len(images), seed=recipe.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = _batches(len(images), recipe.batch_size, generator)
    network.train()
    progress = tqdm(range(recipe.steps), desc="training", unit="step")
    for step in progress:
        ids = next(batches)
        timesteps = torch.randint(
            scheduler.config.num_train_timesteps, ids.shape, generator=generator
        )
        rate = recipe.learning_rate_at(step)
        noise = recorder.draw(ids, timesteps, images[ids], step_size=rate)
        noised = scheduler.add_noise(images[ids], noise, timesteps)
        loss = functional.mse_loss(network(noised, timesteps).sample, noise)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if step + 1 in recipe.checkpoint_steps:
            checkpoint = directory / f"checkpoint-{step + 1}"
            network.save_pretrained(checkpoint / "unet")
            recorder.save(checkpoint)


def _build_network(recipe: Recipe) -> UNet2DModel:
    """Return the untrained network; PyTorch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return UNet2DModel(**recipe.network)


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of batch after batch without end, each epoch in a new random order."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from (order[start : start + batch_size] for start in range(0, count, batch_size))
