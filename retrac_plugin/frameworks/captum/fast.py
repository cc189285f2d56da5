"""Captum's fast classes, place by place, ``(job, **settings) -> [query, train]``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from captum.influence import TracInCPFast, TracInCPFastRandProj
from captum.influence._utils.nearest_neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.utils.data import DataLoader

from retrac_plugin.frameworks.captum.job import Job
from retrac_plugin.frameworks.captum.last_layer import AtLastLayer, Places, SumOfPlaces
from retrac_plugin.frameworks.side_loaders import Side


def tracin_fast(job: Job) -> Tensor:
    """``TracInCPFast``: ``sum_k eta_k <G_i, G_q>`` of the last layer's weight, not its bias."""
    total = torch.zeros(len(job.queries.ids), len(job.train.ids), device=job.core.device)
    with job.bar(total.shape[1] * len(job.checkpoints), "TracInCPFast") as bar:
        for position, checkpoint in enumerate(job.checkpoints):
            at = AtLastLayer(job, position)
            linear = at.linear(at.layer())
            queries = list(_all(at, job.queries))
            start = 0
            for train in _all(at, job.train):
                attributor = TracInCPFast(linear, **_given(job, linear, train))
                products = [part.by_sample(attributor.influence(part.batch)) for part in queries]
                block = train.by_sample(torch.cat(products).T).T
                total[:, start : start + block.shape[1]] += checkpoint.step_size * block
                start += block.shape[1]
                bar.update(block.shape[1])
    return total


def random_projection(job: Job, *, projection_dim: int | None, seed: int) -> Tensor:
    """``TracInCPFastRandProj``: inner products of embeddings, which a place's outer product makes.

    A sample's embedding is the sum of its places'. Captum's class then looks for the embeddings
    that are near, with a package of its own; here all products are taken.
    """
    total = torch.zeros(len(job.queries.ids), len(job.train.ids), device=job.core.device)
    samples = sum(total.shape) * len(job.checkpoints)
    with job.bar(samples, "TracInCPFastRandProj") as bar:
        for position, checkpoint in enumerate(job.checkpoints):
            at = AtLastLayer(job, position)
            embed = _embedding(job, at, projection_dim, seed)
            sides = []
            for side in (job.queries, job.train):
                parts = [part.by_sample(embed(part.batch)) for part in _all(at, side)]
                sides.append(torch.cat(parts))
                bar.update(len(side.ids))
            total += checkpoint.step_size * sides[0] @ sides[1].T
    return total


def _embedding(
    job: Job, at: AtLastLayer, projection_dim: int | None, seed: int
) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    """Return what embeds a batch; the same seed projects alike at every checkpoint."""
    linear = at.linear(at.layer())
    with warnings.catch_warnings():
        # Of the memory that embeddings of the whole training set take: this is one batch's.
        warnings.filterwarnings("ignore", message="WARNING: Using this implementation")
        attributor = TracInCPFastRandProj(
            linear,
            **_given(job, linear, at.places(job.train, 0)),
            nearest_neighbors=_NotSought(),
            projection_dim=projection_dim,
            seed=seed,
        )
    return attributor.compute_intermediate_quantities  # type: ignore[no-any-return]


class _NotSought(NearestNeighbors):  # type: ignore[misc]  # captum's types are not read
    """No index of neighbours: it would need another package, and is not asked."""

    def setup(self, data: Tensor) -> None:
        """Do nothing."""

    def get_nearest_neighbors(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Do nothing, never called."""
        raise NotImplementedError


def _given(job: Job, linear: nn.Linear, train: Places) -> dict[str, Any]:
    """Return what both classes take, for one batch of training samples and one checkpoint."""
    return {
        "final_fc_layer": linear,
        "train_dataset": DataLoader([train.batch], batch_size=None),  # type: ignore[arg-type]  # a list is a dataset
        "checkpoints": [0],
        "checkpoints_load_func": lambda network, _: 1.0,
        "loss_fn": SumOfPlaces(job.model.element_loss),
    }


def _all(at: AtLastLayer, side: Side) -> Iterator[Places]:
    """Yield the places of all samples, a network pass at a time."""
    for start in range(0, len(side.ids), side.at_once):
        yield at.places(side, start)
