"""The training samples' gradients: their products with vectors, and their norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import torch
from torch import Tensor

from retrac_plugin.attribution.in_parts import in_parts
from retrac_plugin.attribution.keeping import Of
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import add_query_gradients
from retrac_plugin.attribution.rescaling import Rescaling
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import Products


def train_products(
    at: CheckpointPass, source: ExampleSource, draws: Draws, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the train gradients' products ``[train, vector]`` and norms ``[train]``."""
    blocks = list(train_blocks(at, source, draws, vectors))
    return torch.cat([b.dots for b in blocks]), torch.cat([b.norms for b in blocks])


def kept_products(
    at: CheckpointPass, source: ExampleSource, draws: Draws, vectors: Tensor, of: Of
) -> tuple[Tensor, Tensor]:
    """Return the same, and keep what is finished of it.

    Args:
        at: The checkpoint.
        source: The training samples.
        draws: Their timesteps and noise.
        vectors: ``[vector, width]``.
        of: What the vectors are of, beside the checkpoint.
    """
    return _kept(at, source, draws, of, lambda part: train_products(at, part, draws, vectors))


def kept_norms(at: CheckpointPass, source: ExampleSource, draws: Draws) -> Tensor:
    """Return the train gradients' norms ``[train]`` alone, and keep what is finished of them."""
    return kept_products(at, source, draws, at.zeros(0, at.engine.width), Of((), ("norms",)))[1]


def train_blocks(
    at: CheckpointPass, source: ExampleSource, draws: Draws, vectors: Tensor
) -> Iterator[Products]:
    """Yield the train gradients' products and norms, some samples at a time and in order.

    Args:
        at: The checkpoint.
        source: The training samples.
        draws: Their timesteps and noise; all draws of a sample share a network pass.
        vectors: ``[vector, width]``.
    """
    make = partial(at.engine.products, vectors=vectors)
    blocks = source.blocks(at.block_size(draws))
    for led in at.lead(blocks, source, draws, "train", prod(draws.per_sample()), make):
        yield led.made


def own_products(
    at: CheckpointPass,
    source: ExampleSource,
    train_draws: Draws,
    query_draws: Draws,
    rescale: Rescaling,
) -> tuple[Tensor, Tensor]:
    """Return each train gradient's product with its own query gradient, and its norm."""

    def find(part: ExampleSource) -> tuple[Tensor, Tensor]:
        return _own_products(at, part, train_draws, query_draws, rescale)

    of = Of((), ("own products", query_draws, rescale))
    return _kept(at, source, train_draws, of, find)


def _own_products(
    at: CheckpointPass,
    source: ExampleSource,
    train_draws: Draws,
    query_draws: Draws,
    rescale: Rescaling,
) -> tuple[Tensor, Tensor]:
    dots, norms = [], []
    size = min(at.block_size(train_draws), at.block_size(query_draws), at.gradients_at_once())
    for block in source.blocks(size):
        queries = at.zeros(1, len(block.ids), at.engine.width)
        add_query_gradients(queries, at, [block], source, query_draws, [rescale])
        make = partial(at.engine.products, vectors=queries[0])
        draws_each = prod(train_draws.per_sample())
        for led in at.lead([block], source, train_draws, "train", draws_each, make):
            dots.append(led.made.dots.diagonal().clone())  # a view keeps all others
            norms.append(led.made.norms)
    return torch.cat(dots), torch.cat(norms)


_NAMES = ("products", "norms")


def _kept(
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    of: Of,
    find: Callable[[ExampleSource], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Find products and norms of some samples after the other, and keep what is finished."""

    def make(part: ExampleSource) -> dict[str, Tensor]:
        return dict(zip(_NAMES, find(part), strict=True))

    parts = list(in_parts(at, source, draws, of, make))
    products, norms = (torch.cat([part[name] for part in parts]) for name in _NAMES)
    return products, norms
