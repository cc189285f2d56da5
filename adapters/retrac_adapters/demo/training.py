"""Trains the demo's model with the recorder, and leaves a run as diffusers' own scripts do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.starting import Start, from_scratch
from retrac_plugin import Recorder
from retrac_plugin.files import write_atomically
from retrac_plugin.progress import bar

FINISHED = "recipe.json"
"""Written last: a run that holds it is complete."""


def train_once(images: Tensor, recipe: Recipe, directory: Path, start: Start | None = None) -> bool:
    """Train and save a run, unless the folder already holds one of the same recipe.

    Args:
        images: The training set ``[N, C, H, W]``.
        recipe: What to train, and how.
        directory: The run's folder; an unfinished or different run in it is replaced.
        start: What to train from; None: from random weights.

    Returns:
        Whether it was trained now.
    """
    start = from_scratch(recipe) if start is None else start
    marker = directory / FINISHED
    text = json.dumps({**asdict(recipe), **start.about}, indent=2)
    if marker.is_file() and marker.read_text() == text:
        return False
    for old in (*directory.glob("checkpoint-*"), directory / "scheduler"):
        shutil.rmtree(old, ignore_errors=True)
    marker.unlink(missing_ok=True)
    train(images, recipe, directory, start)
    write_atomically(marker, lambda path: path.write_text(text))
    return True


def train(images: Tensor, recipe: Recipe, directory: Path, start: Start) -> None:
    """Train a U-Net to predict the noise in noised images, recording every visit."""
    network = start.network(recipe.seed)
    scheduler = DDPMScheduler(**recipe.scheduler)
    scheduler.save_pretrained(directory / "scheduler")
    recorder = Recorder(num_samples=len(images), seed=recipe.seed)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = _batches(len(images), recipe.batch_size, generator)
    network.train()
    with bar(recipe.steps, "training", "step", leave=True) as progress:
        for step in range(recipe.steps):
            ids = next(batches)
            timesteps = torch.randint(
                scheduler.config.num_train_timesteps, ids.shape, generator=generator
            )
            rate = recipe.learning_rate_at(step)
            noise = recorder.draw(ids, timesteps, images[ids], step_size=rate)
            noised = scheduler.add_noise(images[ids], noise, timesteps)
            loss = start.criterion(network(noised, timesteps).sample, noise)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if step % 50 == 0:
                progress.set_postfix(loss=f"{loss.item():.3f}")
            if step + 1 in recipe.checkpoint_steps:
                checkpoint = directory / f"checkpoint-{step + 1}"
                start.save(network, checkpoint)
                recorder.save(checkpoint)
            progress.update()


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of batch after batch without end, each epoch in a new random order."""
    while True:
        order = torch.randperm(count, generator=generator)
        yield from (order[start : start + batch_size] for start in range(0, count, batch_size))
