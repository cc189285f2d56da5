"""The ground truth: what retraining on other training sets really does to the queries.

Every retrained model leaves one small file, written whole or not at all, so that a run that was
killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

import retrac_plugin as retrac
from retrac_adapters.demo.generating import sample
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.tasks.retrained.stacked import Training, build_network, train_together
from retrac_plugin.files import write_atomically
from retrac_plugin.methods.losses import mean_losses

TOGETHER = 8
"""Models trained side by side: more are no faster."""

LOSS_DRAWS = retrac.Strided(50, noise_draws=1, seed=1)
"""Evenly spaced timesteps; the noise is fixed per query and timestep, for all models alike."""

Job = tuple[int, int]
"""(retraining seed, subset)."""


def random_halves(count: int, images: int, seed: int = 0) -> Tensor:
    """Return which images are in each of ``count`` random halves, ``[subset, image]``, bool."""
    generator = torch.Generator().manual_seed(seed)
    members = torch.zeros(count, images, dtype=torch.bool)
    for row in members:
        row[torch.randperm(images, generator=generator)[: images // 2]] = True
    return members


def retrain(
    images: Tensor,
    subsets: Tensor,
    queries: Tensor,
    recipe: Recipe,
    jobs: Sequence[Job],
    directory: Path,
) -> Tensor:
    """Retrain on subsets, and return the retrained models' losses of the queries.

    Args:
        images: The training set ``[N, C, H, W]``.
        subsets: Its subsets ``[subset, N]``, bool, of one size.
        queries: ``[query, C, H, W]``.
        recipe: How to train.
        jobs: Which subsets to train on, with which seeds.
        directory: Where the models' losses are kept; what is there already is not done again.

    Returns:
        ``[seed, subset, query]``; NaN where no job asked for it.
    """
    folder = directory / _fingerprint(images, subsets, queries, recipe)
    paths = {job: folder / f"seed{job[0]}-subset{job[1]:03}.safetensors" for job in jobs}
    trainings = {
        paths[seed, subset]: Training(
            subsets[subset].nonzero()[:, 0], seed=1 + 1000 * seed + subset
        )
        for seed, subset in jobs
    }
    _train_missing(
        images, trainings, recipe, lambda state: {"losses": _losses(state, queries, recipe)}
    )
    seeds = 1 + max(seed for seed, _ in jobs)
    found = torch.full((seeds, len(subsets), len(queries)), torch.nan)
    for job, path in paths.items():
        found[job] = load_file(path)["losses"]
    return found


class Left(NamedTuple):
    """What models make of the queries that were trained without some images."""

    losses: Tensor
    """``[model, query]``."""
    pictures: Tensor
    """``[model, picture, C, H, W]``, drawn from the same noise by all."""


def retrain_without(
    images: Tensor,
    removals: Sequence[tuple[int, ...]],
    queries: Tensor,
    recipe: Recipe,
    pictures: int,
    directory: Path,
) -> Left:
    """Retrain without some images; the models differ in nothing else, neither order nor noise.

    Args:
        images: The training set ``[N, C, H, W]``.
        removals: Positions of what each model does without.
        queries: ``[query, C, H, W]``.
        recipe: How to train, and the seed of training and drawing.
        pictures: How many pictures each model draws.
        directory: Where results are kept; what is there already is not done again.
    """
    folder = directory / _fingerprint(images, queries, queries, recipe)
    everything = torch.arange(len(images))
    trainings = {
        folder / f"without-{_digest(repr(sorted(removal)))}.safetensors": Training(
            everything, recipe.seed, removal
        )
        for removal in removals
    }

    def look(state: dict[str, Tensor]) -> dict[str, Tensor]:
        network = _network(state, recipe)
        scheduler = DDPMScheduler(**recipe.scheduler)
        drawn = sample(network, scheduler, recipe, pictures, recipe.seed)
        return {"losses": _losses(state, queries, recipe), "pictures": drawn}

    _train_missing(images, trainings, recipe, look)
    by_removal = {training.without: load_file(path) for path, training in trainings.items()}
    found = [by_removal[removal] for removal in removals]
    return Left(*(torch.stack([one[name] for one in found]) for name in Left._fields))


def _train_missing(
    images: Tensor,
    trainings: Mapping[Path, Training],
    recipe: Recipe,
    look: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Train the models that left no file, and write what ``look`` sees in each."""
    missing = [path for path in trainings if not path.is_file()]
    for start in tqdm(range(0, len(missing), TOGETHER), desc="retraining", unit="group"):
        group = missing[start : start + TOGETHER]
        states = train_together(images, [trainings[path] for path in group], recipe)
        for path, state in zip(group, states, strict=True):
            write_atomically(path, partial(save_file, look(state)))


def _losses(state: dict[str, Tensor], queries: Tensor, recipe: Recipe) -> Tensor:
    model = retrac.wrap(_network(state, recipe), DDPMScheduler(**recipe.scheduler))
    # Step 0 for every model: noise is a function of the step too.
    checkpoint = retrac.Checkpoint(state, step=0)
    return mean_losses(model, checkpoint, queries, LOSS_DRAWS, batch_size=500)


def _network(state: dict[str, Tensor], recipe: Recipe) -> UNet2DModel:
    network = build_network(recipe, seed=0).eval()
    network.load_state_dict(state)
    return network


def _fingerprint(images: Tensor, subsets: Tensor, queries: Tensor, recipe: Recipe) -> str:
    """Name what the losses depend on, so that others' are never taken for them."""
    digest = hashlib.sha256(f"{recipe} {LOSS_DRAWS}".encode())
    for tensor in (images, subsets, queries):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
