"""The streamed engine's contenders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from retrac_adapters.measuring.engine_benchmark.timing import Contender
from retrac_adapters.measuring.engine_benchmark.workload import DRAWS, Workload
from retrac_plugin.gradients.projections import CountSketch, Factored, Projection
from retrac_plugin.gradients.streamed import StreamedEngine

IN_MEMORY = 2**32
"""Bytes of queries that are kept in memory; more lie in a memory-mapped file."""


@contextmanager
def random_vectors(count: int, width: int) -> Iterator[Tensor]:
    """Give vectors as large as so many queries, in a temporary file if they are very large."""
    size = count * width
    with tempfile.TemporaryDirectory() as folder:
        if 4 * size <= IN_MEMORY:
            vectors = torch.empty(size)
        else:
            file = Path(folder) / "vectors"
            vectors = torch.from_file(str(file), shared=True, size=size)
        for piece in torch.split(vectors, 2**24):
            piece.normal_()
        yield vectors.view(count, width)


def train_side(work: Workload, vectors: Tensor) -> Contender:
    """Products of training samples with every vector, and norms.

    As many batches as a window of deferred layers spans, where there is one.
    """
    batch = work.batch(work.size.batch)
    batches = max(1, 64 // work.size.batch) if len(vectors) >= 32 else 1
    engine = StreamedEngine(work.losses, work.parameters)

    def run() -> None:
        for _ in engine.products([batch] * batches, 1, vectors):
            pass

    samples = work.size.batch
    return Contender(run, samples * batches, lambda: work.plain(batch), samples)


def query_side(work: Workload) -> Contender:
    """The gradient of each row of 16 noise draws."""
    samples = max(DRAWS, work.size.batch)
    batch = work.batch(samples)
    engine = StreamedEngine(work.losses, work.parameters)
    return Contender(
        lambda: engine.gradients(batch, DRAWS), samples, lambda: work.plain(batch), samples
    )


def features(work: Workload, projection: Projection) -> Contender:
    """Features of training samples; the random numbers are drawn once, not timed."""
    batch, samples = work.batch(work.size.batch), work.size.batch
    engine = StreamedEngine(work.losses, work.parameters)
    stream = engine.features(_forever(batch), 1, projection)
    return Contender(lambda: next(stream), samples, lambda: work.plain(batch), samples)


def _forever(batch: object) -> Iterator[object]:
    while True:
        yield batch


def contenders(work: Workload, ten: Tensor, hundred: Tensor | None) -> dict[str, Contender]:
    """Return the rows of the table."""
    found = {
        "norms alone": train_side(work, ten[:0]),
        "train side, 1 query": train_side(work, ten[:1]),
        "train side, 10 queries": train_side(work, ten),
        f"query side, {DRAWS} draws": query_side(work),
        "count-sketch, d = 4,096": features(work, CountSketch(4096)),
        "factored, side 8": features(work, Factored(8)),
    }
    if hundred is not None:
        found["train side, 100 queries"] = train_side(work, hundred)
    return found
