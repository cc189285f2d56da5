"""``sum_k eta_k < r(g_i^k), q^k >`` for several treatments ``r`` of the gradients of one job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.budget import within_memory
from retrac_plugin.attribution.job import Job
from retrac_plugin.attribution.keeping import Found, Of, Tensors
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.rescaling import Method, Rescaling
from retrac_plugin.attribution.train_side import kept_products
from retrac_plugin.data.examples import Examples, ExampleSource, as_source
from retrac_plugin.model.checks import check_deterministic


class Scored(NamedTuple):
    """What one way past all checkpoints gives."""

    values: Tensor
    """``[method, query, train]``."""
    norms: Tensor
    """``[checkpoint, train]``, of the training samples' gradients."""
    fallbacks: dict[str, str]
    """The parameters for which there was no layer rule, with the reason."""


@within_memory()
def score(
    job: Job, methods: Sequence[Method], train: Examples | ExampleSource, queries: Examples
) -> Scored:
    """Return the influence of every training sample on every query, by each method.

    Each checkpoint is loaded once; each block of queries costs one pass over the training set.

    Args:
        job: What decides gradients.
        methods: What becomes of their norms.
        train: The training set, or a part of it.
        queries: The images to explain.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    setting = job.setting
    sources = as_source(train, "train"), ExampleSource(queries, "queries")
    num_train, num_queries = map(len, sources)
    found = Scored(
        setting.zeros(len(methods), num_queries, num_train),
        setting.zeros(len(setting.checkpoints), num_train),
        {},
    )
    plan = job.plan(sources[0], num_queries, len(methods))
    samples = plan.samples(num_train, num_queries) * len(setting.checkpoints)
    check_deterministic(setting.model.network)
    with setting.bar(samples, methods[0].name) as bar:
        for position, checkpoint in enumerate(setting.checkpoints):
            # Loaded when it is needed, and dropped with the next line that comes here.
            load = cache(partial(setting.at, position, bar.update, plan.batch_size))
            identity = setting.identity(position, plan.batch_size)
            for block, some in _blocks(sources[1], plan.queries_at_once):
                part = _Part(job, methods, sources[0], some).found(identity, load)
                bar.update(part.was_there * (num_train + len(some)))
                found.norms[position] = part.tensors["norms"]
                found.fallbacks.update(_as_texts(part.tensors["fallbacks"]))
                _add(found.values[:, block], part.tensors, checkpoint.step_size, methods)
                del part
    return found


def _add(total: Tensor, term: Tensors, step_size: float, methods: Sequence[Method]) -> None:
    """Add one checkpoint's term of some queries to their scores ``[method, query, train]``."""
    products, norms = term["products"].to(total.device), term["norms"].to(total.device)
    for scores, method, part in zip(total, methods, products, strict=True):
        scores += step_size * part * method.rescale(norms)


def _blocks(queries: ExampleSource, at_once: int) -> Iterator[tuple[slice, ExampleSource]]:
    if at_once >= len(queries):
        yield slice(None), queries
        return
    for start in range(0, len(queries), at_once):
        places = range(start, min(start + at_once, len(queries)))
        yield slice(places.start, places.stop), queries.part(places)


@dataclass(frozen=True)
class _Part:
    """What one checkpoint adds to the scores of some queries."""

    job: Job
    methods: Sequence[Method]
    train: ExampleSource
    queries: ExampleSource

    def found(self, identity: Sequence[Any], load: Callable[[], CheckpointPass]) -> Found:
        """Return products ``[method, query, train]`` and what comes with them."""
        data, own = self._of_queries
        decisive = (*identity, "terms", *own, self.job.train_draws, str(self.train.ids))
        of = Of((self.train.data, *data), decisive)
        return self.job.setting.keep.part(of, lambda: self._made(load()))

    def _made(self, at: CheckpointPass) -> Tensors:
        draws, zeros = self.job.query_draws, self.job.zeros_for(at)
        gradients = query_gradients(at, self.queries, draws, self._rescalings, zeros)
        vectors = gradients.flatten(0, 1)
        of = self._of_queries
        products, norms = kept_products(at, self.train, self.job.train_draws, vectors, of)
        return {
            "products": products.T.reshape(*gradients.shape[:2], -1),
            "norms": norms,
            "fallbacks": _as_bytes(at.engine.fallbacks()),
        }

    @property
    def _rescalings(self) -> list[Rescaling]:
        return [method.rescale for method in self.methods]

    @property
    def _of_queries(self) -> Of:
        draws, ids = self.job.query_draws, str(self.queries.ids)
        return Of((self.queries.data,), ("products", draws, self._rescalings, ids))


def _as_bytes(texts: Mapping[str, str]) -> Tensor:
    return torch.tensor(list(json.dumps(texts).encode()), dtype=torch.uint8)


def _as_texts(stored: Tensor) -> dict[str, str]:
    found: dict[str, str] = json.loads(bytes(stored.tolist()))
    return found
