"""``sum_k eta_k < r(g_i^k), q^k >`` for several treatments ``r`` of the gradients of one job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from retrac_plugin.attribution.budget import within_memory
from retrac_plugin.attribution.job import Job
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import query_blocks
from retrac_plugin.attribution.rescaling import Method
from retrac_plugin.attribution.train_side import train_products
from retrac_plugin.data.examples import Examples, ExampleSource, as_source


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
    with setting.bar(samples, methods[0].name) as bar:
        for at in setting.passes(bar.update, plan.batch_size):
            cut = [method.rescale for method in methods], plan.queries_at_once, job.zeros_for(at)
            blocks = query_blocks(at, sources[1], job.query_draws, *cut)
            _add(found, at, blocks, sources[0], job, methods)
            found.fallbacks.update(at.engine.fallbacks())
            del at, blocks, cut  # or this checkpoint's weights stay while the next one loads
    return found


def _add(
    found: Scored,
    at: CheckpointPass,
    blocks: Iterable[Tensor],
    train: ExampleSource,
    job: Job,
    methods: Sequence[Method],
) -> None:
    """Add one checkpoint's term, a block of queries after the other."""
    start = 0
    for gradients in blocks:
        vectors = gradients.flatten(0, 1)
        products, norms = train_products(at, train, job.train_draws, vectors)
        products = products.T.reshape(*gradients.shape[:2], -1)
        stop = start + gradients.shape[1]
        for total, method, part in zip(found.values, methods, products, strict=True):
            total[start:stop] += at.checkpoint.step_size * part * method.rescale(norms)
        found.norms[at.position], start = norms, stop
