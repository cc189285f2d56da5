"""Captum's similarity of activations, ``(job, **settings) -> [query, train]``."""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from captum.influence import SimilarityInfluence
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import Dataset, default_collate

from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum.job import Job
from retrac_plugin.frameworks.drawn_rows import as_rows
from retrac_plugin.frameworks.nesting import nested
from retrac_plugin.frameworks.side_loaders import Side
from retrac_plugin.model.diffusion import LOSS_WEIGHT, DiffusionModel


def similarity(job: Job, *, layers: list[str] | None) -> Tensor:
    """``SimilarityInfluence``: cosines of activations, their mean over draws and layers.

    Both sides are taken at the queries' timesteps, a draw of the one with the same draw of the
    other. The metric is ours: Captum's own cosine works on the CPU alone, and not on one layer.
    """
    model = _Predictor(job)
    chosen = [f"network.{name}" for name in _layers(model.network, layers)]
    total = torch.zeros(len(job.queries.ids), len(job.train.ids), device=job.core.device)
    draws = job.queries.draws_each
    with job.bar(draws, "SimilarityInfluence", "draw") as bar:
        for draw in range(draws):
            for found in _of_draw(model, chosen, job, draw):
                total += found / (draws * len(chosen))
            bar.update()
    return total


def _of_draw(model: _Predictor, layers: list[str], job: Job, draw: int) -> list[Tensor]:
    """Return each layer's similarities ``[query, train]`` at one draw."""
    train, count = _NoisyItems(model, job.train, draw), len(job.train.ids)
    queries = _NoisyItems(model, job.queries, draw)
    inputs = default_collate([queries[i][0] for i in range(len(queries))])
    # Captum keeps activations in files, under a name that says nothing of weights or timestep.
    with tempfile.TemporaryDirectory() as folder:
        attributor = SimilarityInfluence(
            model,
            layers,
            train,
            folder,
            similarity_metric=_cosines,
            batch_size=_divisor(count, job.core.setting.batch_size),
        )
        found = attributor.influence(tuple(inputs), top_k=count)
    return [_in_order(*found[layer]).to(job.core.device) for layer in layers]


class _Predictor(nn.Module):
    """``(noisy, timesteps, *conditions) -> prediction``, on a network of its own."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.model: DiffusionModel = job.model
        self.conditions, self.device = job.conditions, job.core.device
        values = load_into(job.model.network, job.checkpoints[0], self.device)
        self.network = copy.deepcopy(job.model.network).to(self.device)
        self.network.load_state_dict(values, strict=False)
        self.dtype = next(self.network.parameters()).dtype

    def forward(self, noisy: Tensor, timesteps: Tensor, *conditions: Tensor) -> Tensor:
        """Return the prediction."""
        parts = [part.to(self.device) for part in (noisy, timesteps, *conditions)]
        named = nested(self.conditions, parts[2:])
        named.pop(LOSS_WEIGHT, None)  # which is no condition
        prediction: Tensor = self.model.predict(self.network, parts[0], parts[1], named)
        return prediction


class _NoisyItems(Dataset[tuple[tuple[Tensor, ...], int]]):
    """``((noisy, timestep, *conditions), no label)`` of each example at one of its draws."""

    def __init__(self, model: _Predictor, side: Side, draw: int) -> None:
        self.model, self.side, self.draw = model, side, draw
        self.items = side.by_draw()

    def __len__(self) -> int:
        return len(self.side.ids)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, ...], int]:
        item = self.items[index * self.side.draws_each + self.draw]
        rows = as_rows([part[None] for part in item], 0, self.model.dtype)
        conditions = nested(self.model.conditions, rows.conditions)
        batch = self.model.model.diffuse(rows.samples, rows.timesteps, rows.noise, conditions)
        return (batch.noisy[0], batch.timesteps[0], *(part[0] for part in rows.conditions)), 0


def _layers(network: nn.Module, layers: list[str] | None) -> list[str]:
    """Return the layers that were named, or the middle block.

    Raises:
        InputError: If there is none of a name.
    """
    modules = dict(network.named_modules())
    chosen = ["mid_block"] if layers is None else layers
    unknown = [name for name in chosen if name not in modules]
    if unknown or not chosen:
        raise InputError(
            f"captum-similarity: {type(network).__name__} has no module "
            f"{', '.join(map(repr, unknown))}. Give layers, names as in network.named_modules(), "
            f"such as {', '.join(list(modules)[1:4])}"
        )
    return chosen


def _cosines(queries: Any, train: Tensor) -> Tensor:
    """Return ``[query, train]`` on the CPU; of one layer Captum gives the queries in a list."""
    given = queries[0] if isinstance(queries, (list, tuple)) else queries
    parts = [normalize(part.detach().cpu().flatten(1)) for part in (given, train)]
    return parts[0] @ parts[1].T


def _divisor(count: int, limit: int) -> int:
    """Return the largest divisor of ``count`` up to ``limit``: of a rest, Captum takes too many."""
    return max(size for size in range(1, min(count, limit) + 1) if count % size == 0)


def _in_order(indices: Tensor, values: Tensor) -> Tensor:
    """Return the values, which are sorted, in the training set's order."""
    return torch.zeros_like(values).scatter(1, indices, values)
