"""The queries' gradients: ``1/T sum_t r(1/S sum_s g(q, t, s))``, whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from retrac_plugin.attribution.features import whole_gradients
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.rescaling import Rescaling
from retrac_plugin.data.examples import Block, ExampleSource, gathered
from retrac_plugin.draws import Draws

Zeros = Callable[..., Tensor]
"""Makes zeros of a shape."""


def query_gradients(
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    rescalings: Sequence[Rescaling],
    zeros: Zeros | None = None,
) -> Tensor:
    """Return all queries' gradients at a checkpoint, ``[rescaling, query, width]``."""
    return next(query_blocks(at, source, draws, rescalings, len(source), zeros))


def query_blocks(
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    rescalings: Sequence[Rescaling],
    at_once: int,
    zeros: Zeros | None = None,
) -> Iterator[Tensor]:
    """Yield the same ``[rescaling, some queries, width]``, at most so many queries at a time.

    Args:
        at: The checkpoint.
        source: The queries.
        draws: Their timesteps and noise.
        rescalings: What to do with norms.
        at_once: Queries at a time; each block overwrites the one before.
        zeros: Makes the matrix from its shape; default: in memory, on the device.
    """
    space: Tensor | None = None
    for blocks in gathered(source.blocks(min(at.block_size(draws), at_once)), at_once):
        count = sum(len(block.ids) for block in blocks)
        if space is None:
            space = (zeros or at.zeros)(len(rescalings) * at_once, at.engine.width)
        else:
            space.zero_()
        total = space[: len(rescalings) * count].view(len(rescalings), count, -1)
        add_query_gradients(total, at, blocks, source, draws, rescalings)
        yield total


def add_query_gradients(
    total: Tensor,
    at: CheckpointPass,
    blocks: Iterable[Block],
    source: ExampleSource,
    draws: Draws,
    rescalings: Sequence[Rescaling],
) -> None:
    """Add some queries' gradients to ``total [rescaling, query, width]``.

    A few timesteps at a time, so that few whole gradients are there beside the sum.
    """
    timesteps_each, noise_each = draws.per_sample()
    at_once = max(1, min(at.batch_size // noise_each, at.gradients_at_once()))
    make = whole_gradients(at.engine_of("query"))
    for rows, places in at.lead(blocks, source, draws, "query", noise_each, make, at_once):
        for part, rescale in zip(total, rescalings, strict=True):
            add_rows(part, places, rows.features, rescale(rows.norms) / timesteps_each)


def add_rows(total: Tensor, places: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Add ``weights[i] * rows[i]`` to ``total[places[i]]`` without a copy of the rows.

    Args:
        total: ``[place, width]``.
        places: ``[row]``, ascending.
        rows: ``[row, width]``.
        weights: ``[row]``.
    """
    first, last = int(places[0]), int(places[-1])
    mixing = rows.new_zeros(last - first + 1, len(rows))
    mixing[places - first, torch.arange(len(rows))] = weights.to(rows.dtype)
    total[first : last + 1].addmm_(mixing, rows)
