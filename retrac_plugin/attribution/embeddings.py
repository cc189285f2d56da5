"""Vectors whose inner products are scores.

``tau(q, i) = < e(q), e(i) >`` with the checkpoints side by side in each vector: ``e_k(i) =
sqrt(eta_k) r(g_i^k)`` for a training sample, ``e_k(q) = sqrt(eta_k) 1/|T| sum_t r(gbar_t^k(q))``
for a query. Memory: all of them, ``samples * K * P`` numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.features import train_gradients
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError

Gradients = Callable[[CheckpointPass, ExampleSource], Iterable[Tensor]]
"""Rescaled gradients ``[block, width]`` of one checkpoint, some samples at a time."""


def train_embeddings(
    attributor: DiffusionAttributor, train: Examples, aggregate: bool = False
) -> Tensor:
    """Return the vectors of training samples, ``[train, checkpoint * width]``.

    Args:
        attributor: The method with its model, checkpoints and draws.
        train: The training set.
        aggregate: Return their sum, ``[1, checkpoint * width]``; of the terms, only one block is
            held at a time.

    Raises:
        RetracError: If a step size is negative, or the data or a gradient cannot be used.
    """
    draws, rescale = attributor.train_draws, attributor.method.rescale

    def rescaled(at: CheckpointPass, source: ExampleSource) -> Iterator[Tensor]:
        for gradients, norms in train_gradients(at, source, draws):
            yield gradients * rescale(norms)[:, None]

    return _embed(attributor, ExampleSource(train, "train"), aggregate, rescaled)


def query_embeddings(
    attributor: DiffusionAttributor, queries: Examples, aggregate: bool = False
) -> Tensor:
    """Return the vectors of queries, ``[query, checkpoint * width]``.

    Args:
        attributor: The method with its model, checkpoints and draws.
        queries: The images to explain.
        aggregate: Return their sum, ``[1, checkpoint * width]``.

    Raises:
        RetracError: If a step size is negative, or the data or a gradient cannot be used.
    """
    draws, rescale = attributor.query_draws, attributor.method.rescale
    source = ExampleSource(queries, "queries")
    return _embed(
        attributor, source, aggregate, lambda at, s: query_gradients(at, s, draws, [rescale])
    )


def root_of_step_size(step_size: float) -> float:
    """Return the factor of both vectors whose product is the step size.

    Raises:
        InputError: If there is none.
    """
    if step_size < 0:
        raise InputError(
            f"a checkpoint's step size is {step_size}: no two equal vectors have a negative "
            "product, expected step sizes of 0 or more"
        )
    return math.sqrt(step_size)


def _embed(
    attributor: DiffusionAttributor, source: ExampleSource, aggregate: bool, gradients: Gradients
) -> Tensor:
    factors = [root_of_step_size(checkpoint.step_size) for checkpoint in attributor.checkpoints]
    columns = []
    with attributor.bar(len(source)) as bar:
        for factor, at in zip(factors, attributor.setting.passes(bar.update), strict=True):
            blocks = gradients(at, source)
            columns.append(factor * (_sum(blocks) if aggregate else torch.cat(list(blocks))))
            del at, blocks  # or this checkpoint's weights stay while the next one loads
    return torch.cat(columns, dim=1)


def _sum(blocks: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, (block.sum(0, keepdim=True) for block in blocks))
