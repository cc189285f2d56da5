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
from safetensors.torch import load_file, save_file
from torch import Tensor

from retrac_adapters.tasks.retrained.looking import draw, losses_of
from retrac_adapters.tasks.retrained.procedure import Procedure
from retrac_adapters.tasks.retrained.stacked import Training, train_together
from retrac_plugin.files import write_atomically
from retrac_plugin.progress import over

TOGETHER = 8
"""Models trained side by side: more are no faster."""

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
    procedure: Procedure,
    jobs: Sequence[Job],
    directory: Path,
) -> Tensor:
    """Retrain on subsets, and return the retrained models' losses of the queries.

    Args:
        images: The training set ``[N, C, H, W]``.
        subsets: Its subsets ``[subset, N]``, bool, of one size.
        queries: ``[query, C, H, W]``.
        procedure: How to train.
        jobs: Which subsets to train on, with which seeds.
        directory: Where the models' losses are kept; what is there already is not done again.

    Returns:
        ``[seed, subset, query]``; NaN where no job asked for it.
    """
    trainings = {
        (seed, subset): Training(subsets[subset].nonzero()[:, 0], seed=1 + 1000 * seed + subset)
        for seed, subset in jobs
    }
    return _losses_by_job(images, subsets, queries, procedure, trainings, directory)


def retrain_on_rest(
    images: Tensor,
    rest: Tensor,
    queries: Tensor,
    procedure: Procedure,
    seeds: int,
    directory: Path,
) -> Tensor:
    """Retrain without some images; the models of a seed differ in nothing else.

    Args:
        images: The training set ``[N, C, H, W]``.
        rest: What each model is trained on ``[model, N]``, bool.
        queries: ``[query, C, H, W]``.
        procedure: How to train on the whole training set.
        seeds: How many models of each, whose order of images and noise differ.
        directory: Where the models' losses are kept; what is there already is not done again.

    Returns:
        ``[seed, model, query]``.
    """
    everything = torch.arange(len(images))
    trainings = {
        (seed, model): Training(everything, 1 + seed, tuple((~kept).nonzero()[:, 0].tolist()))
        for seed in range(seeds)
        for model, kept in enumerate(rest)
    }
    return _losses_by_job(images, rest, queries, procedure, trainings, directory)


def _losses_by_job(
    images: Tensor,
    subsets: Tensor,
    queries: Tensor,
    procedure: Procedure,
    trainings: Mapping[Job, Training],
    directory: Path,
) -> Tensor:
    folder = directory / _fingerprint(images, subsets, queries, procedure)
    paths = {job: folder / f"seed{job[0]}-subset{job[1]:03}.safetensors" for job in trainings}
    losses = partial(losses_of, queries=queries, procedure=procedure)
    by_path = {path: trainings[job] for job, path in paths.items()}
    _train_missing(images, by_path, procedure, lambda state: {"losses": losses(state)})
    seeds = 1 + max(seed for seed, _ in trainings)
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
    procedure: Procedure,
    pictures: int,
    directory: Path,
    seed: int = 0,
) -> Left:
    """Retrain without some images; the models differ in nothing else, neither order nor noise.

    Args:
        images: The training set ``[N, C, H, W]``.
        removals: Positions of what each model does without.
        queries: ``[query, C, H, W]``.
        procedure: How to train, and the seed of training and drawing.
        pictures: How many pictures each model draws.
        directory: Where results are kept; what is there already is not done again.
        seed: 0: the order and the noise of training are the recipe's; others give others. Pictures
            are always drawn from the recipe's noise.
    """
    recipe = procedure.recipe
    folder = directory / _fingerprint(images, queries, queries, procedure)
    everything = torch.arange(len(images))
    prefix = f"seed{seed}-without-" if seed else "without-"
    trainings = {
        folder / f"{prefix}{_digest(repr(sorted(removal)))}.safetensors": Training(
            everything, recipe.seed + seed, removal
        )
        for removal in removals
    }

    def look(state: dict[str, Tensor]) -> dict[str, Tensor]:
        drawn = draw(state, procedure, pictures)
        return {"losses": losses_of(state, queries, procedure), "pictures": drawn}

    _train_missing(images, trainings, procedure, look)
    by_removal = {training.without: load_file(path) for path, training in trainings.items()}
    found = [by_removal[removal] for removal in removals]
    return Left(*(torch.stack([one[name] for one in found]) for name in Left._fields))


def _train_missing(
    images: Tensor,
    trainings: Mapping[Path, Training],
    procedure: Procedure,
    look: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Train the models that left no file, and write what ``look`` sees in each."""
    missing = [path for path in trainings if not path.is_file()]
    for first in over(range(0, len(missing), TOGETHER), "retraining", "group"):
        group = missing[first : first + TOGETHER]
        chosen = [trainings[path] for path in group]
        states = train_together(images, chosen, procedure.recipe, procedure.start)
        for path, state in zip(group, states, strict=True):
            write_atomically(path, partial(save_file, look(state)))


def _fingerprint(images: Tensor, subsets: Tensor, queries: Tensor, procedure: Procedure) -> str:
    """Name what the losses depend on, so that others' are never taken for them."""
    beyond = "".join(f" {name}={value}" for name, value in procedure.start.about.items())
    digest = hashlib.sha256(f"{procedure.recipe} {procedure.loss_draws}{beyond}".encode())
    for tensor in (images, subsets, queries):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
