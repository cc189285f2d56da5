"""The ground truth: what retraining on other training sets really does to the queries.

Every retrained model leaves one small file, written whole or not at all, so that a run that was
killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.retrained.stacked import Training, build_network, train_together
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
    missing = [job for job in jobs if not _path(folder, job).is_file()]
    for start in tqdm(range(0, len(missing), TOGETHER), desc="retraining", unit="group"):
        group = missing[start : start + TOGETHER]
        trainings = [
            Training(subsets[subset].nonzero()[:, 0], seed=1 + 1000 * seed + subset)
            for seed, subset in group
        ]
        for job, state in zip(group, train_together(images, trainings, recipe), strict=True):
            losses = {"losses": _losses(state, queries, recipe)}
            write_atomically(_path(folder, job), partial(save_file, losses))
    seeds = 1 + max(seed for seed, _ in jobs)
    found = torch.full((seeds, len(subsets), len(queries)), torch.nan)
    for seed, subset in jobs:
        found[seed, subset] = load_file(_path(folder, (seed, subset)))["losses"]
    return found


def _losses(state: dict[str, Tensor], queries: Tensor, recipe: Recipe) -> Tensor:
    network = build_network(recipe, seed=0).eval()
    model = retrac.wrap(network, DDPMScheduler(**recipe.scheduler))
    # Step 0 for every model: noise is a function of the step too.
    checkpoint = retrac.Checkpoint(state, step=0)
    return mean_losses(model, checkpoint, queries, LOSS_DRAWS, batch_size=500)


def _path(folder: Path, job: Job) -> Path:
    return folder / f"seed{job[0]}-subset{job[1]:03}.safetensors"


def _fingerprint(images: Tensor, subsets: Tensor, queries: Tensor, recipe: Recipe) -> str:
    """Name what the losses depend on, so that others' are never taken for them."""
    digest = hashlib.sha256(f"{recipe} {LOSS_DRAWS}".encode())
    for tensor in (images, subsets, queries):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
