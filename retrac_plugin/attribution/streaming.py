"""Scores train block by train block, so that no matrix ``[query, train]`` is ever held.

``attribute_together`` takes one checkpoint after the other: one set of weights and one matrix of
query gradients in memory, and all scores. Here it is the other way round: the weights and the query
gradients of *all* checkpoints, ``K (P + Q P)`` numbers for ``K`` checkpoints, ``P`` parameters and
``Q`` queries, and the scores of one block of training samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, scores_by_itself
from retrac_plugin.attribution.highest import Highest
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import query_blocks
from retrac_plugin.attribution.scores import Top
from retrac_plugin.attribution.train_side import train_blocks
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import Products


def score_blocks(
    attributor: DiffusionAttributor, train: Examples, queries: Examples, aggregate: bool = False
) -> Iterator[Tensor]:
    """Yield the scores ``[query, block]`` of some training samples at a time, in their order.

    Args:
        attributor: The method with its model, checkpoints and draws.
        train: The training set.
        queries: The images to explain.
        aggregate: Yield the sum over all queries, ``[1, block]``.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    train_source, query_source = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    rescale = attributor.method.rescale
    num_queries, num_checkpoints = len(query_source), len(attributor.checkpoints)
    plan = attributor.job.plan(train_source, num_queries, num_checkpoints, num_checkpoints)
    if plan.queries_at_once < num_queries and not aggregate:
        raise InputError(
            f"max_memory: the gradients of {num_queries} queries at {num_checkpoints} checkpoints "
            f"are needed together here, and only {plan.queries_at_once} fit. Give query_store=, a "
            "folder for them, ask for fewer queries at a time, or give more memory"
        )
    streams: list[Iterator[Products]] = []
    with attributor.bar(len(train_source) + num_queries) as bar:
        for at in attributor.setting.passes(bar.update, plan.batch_size):
            vectors = _query_vectors(attributor, at, query_source, plan.queries_at_once, aggregate)
            streams.append(train_blocks(at, train_source, attributor.train_draws, vectors))
        for parts in zip(*streams, strict=True):
            scores = attributor.setting.zeros(*parts[0].dots.T.shape)
            for checkpoint, part in zip(attributor.checkpoints, parts, strict=True):
                scores += checkpoint.step_size * part.dots.T * rescale(part.norms)
            yield scores


def blocks_of(
    attributor: DiffusionAttributor, train: Examples, queries: Examples, aggregate: bool = False
) -> Iterator[Tensor]:
    """Yield the same of any attributor; one that overrides how scores are made is asked for all."""
    if not scores_by_itself(attributor):
        yield from score_blocks(attributor, train, queries, aggregate)
        return
    values = attributor.attribute(train, queries).values
    yield values.sum(0, keepdim=True) if aggregate else values


def _query_vectors(
    attributor: DiffusionAttributor,
    at: CheckpointPass,
    source: ExampleSource,
    at_once: int,
    aggregate: bool,
) -> Tensor:
    """Return the queries' gradients ``[query, width]``, or their sum ``[1, width]``."""
    draws, rescalings = attributor.query_draws, [attributor.method.rescale]
    blocks = query_blocks(at, source, draws, rescalings, at_once, attributor.job.zeros_for(at))
    if not aggregate:
        return next(blocks)[0]
    return reduce(torch.add, (block[0].sum(0, keepdim=True) for block in blocks))


def running_top(blocks: Iterable[Tensor], k: int, largest: bool = True) -> Top:
    """Return the ``k`` extreme columns of each row of blocks side by side, the most extreme first.

    Args:
        blocks: ``[row, block]`` each, read one at a time.
        k: How many; all columns where there are fewer.
        largest: Whether the highest are wanted, or the lowest.
    """
    highest, start = Highest(k, gathered=1), 0  # a block is a batch already
    for block in blocks:
        places = torch.arange(start, start + block.shape[1])
        highest.add(places, block if largest else -block)
        start += block.shape[1]
    top = highest.top()
    return top if largest else Top(top.indices, -top.values)
