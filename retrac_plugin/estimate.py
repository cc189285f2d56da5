"""What an attribution will take, from a few real batches of it: time, memory and disk.

Each side costs as many network passes as it has draws, at every checkpoint, and the training side
also products with every query. Both are timed on a few batches, at the first checkpoint and after
a warm-up, and counted up; the queries' gradients, which decide on memory, are counted alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils.data import Subset

from retrac_plugin.attributors import DiffusionAttributor
from retrac_plugin.benchmarks.memory import PeakMemory
from retrac_plugin.errors import InputError
from retrac_plugin.examples import Examples, ExampleSource
from retrac_plugin.image_files import FileExamples
from retrac_plugin.passes import CheckpointPass

REPEATS = 3
"""Batches of each side that are timed, after one that is not."""

PROBE_BYTES = 2**28
"""What the stand-ins for the queries' gradients may take while the training side is timed."""

SCORE_BYTES = 4
"""Of one score on disk."""


@dataclass(frozen=True)
class Estimate:
    """What an attribution will take.

    Attributes:
        encoding: Seconds to encode images and captions that are not yet.
        loading: Seconds to load all checkpoints.
        queries: Seconds for the gradients of the queries.
        training: Seconds for those of the training set, and their products with the queries.
        memory: Bytes of the whole process at its peak, on the CPU.
        device_memory: Bytes on a GPU at the peak, 0 without one.
        query_bytes: Bytes of the queries' gradients alone, part of either.
        scores: Bytes of the files of scores.
        cache: Bytes that encoding adds to the cache.
    """

    encoding: float
    loading: float
    queries: float
    training: float
    memory: int
    device_memory: int
    query_bytes: int
    scores: int
    cache: int

    @property
    def seconds(self) -> float:
        """All of them together."""
        return self.encoding + self.loading + self.queries + self.training


def estimate(
    attributors: Sequence[DiffusionAttributor], train: Examples, num_queries: int, repeats: int = 1
) -> Estimate:
    """Estimate ``attribute_together(attributors, train, queries)``.

    Args:
        attributors: The methods, which share model, checkpoints and draws.
        train: The training set; its first samples are timed, also in the place of queries.
        num_queries: How many queries there will be.
        repeats: How often all is done, with other draws.

    Raises:
        InputError: If a method is not one of Diffusion-TracIn and Diffusion-ReTrac.
    """
    others = [type(a).__name__ for a in attributors if not isinstance(a, DiffusionAttributor)]
    if others or not attributors or num_queries < 1:
        raise InputError(
            f"estimate: expected DiffusionTracIn or DiffusionReTrac and at least one query, got "
            f"{', '.join(others) or len(attributors)} and {num_queries}"
        )
    encoding, cache = _encoding(train)
    probe = Probe(attributors[0], train, num_queries, len(attributors))
    num_checkpoints, num_train = len(attributors[0].checkpoints), probe.num_train
    times = repeats * num_checkpoints
    values = num_queries * num_train + num_checkpoints * num_train
    held = probe.query_bytes + _IN_MEMORY * len(attributors) * num_queries * num_train * SCORE_BYTES
    on_gpu = probe.device.type == "cuda"
    return Estimate(
        encoding=encoding,
        loading=times * probe.loading,
        queries=times * num_queries * probe.per_query,
        training=times * num_train * probe.per_sample,
        memory=probe.memory + (0 if on_gpu else held),
        device_memory=probe.device_memory + held if on_gpu else 0,
        query_bytes=probe.query_bytes,
        scores=len(attributors) * values * SCORE_BYTES,
        cache=cache,
    )


_IN_MEMORY = 3
"""Scores are there as products, as their transpose, and summed."""


class Probe:
    """A few batches, timed at the first checkpoint.

    Args:
        attributor: The method.
        train: The training set.
        num_queries: How many queries there will be.
        methods: How many methods share the gradients, with a matrix of them each.

    Attributes:
        loading: Seconds to load a checkpoint.
        per_query: Seconds per query.
        per_sample: Seconds per training sample, with its products with all queries.
        memory: Bytes of the process, without the queries' gradients.
        device_memory: Bytes on the GPU, likewise.
        query_bytes: Bytes of the queries' gradients.
    """

    def __init__(
        self, attributor: DiffusionAttributor, train: Examples, num_queries: int, methods: int
    ) -> None:
        self.attributor, self.train = attributor, train
        self.device = attributor.device
        self.num_train = len(ExampleSource(train, "train"))
        vectors = methods * num_queries
        with PeakMemory() as first:
            at, self.loading = self._load()
            self.query_bytes = vectors * at.engine.width * at.dtype.itemsize
            self.per_query = self._time_queries(at, num_queries)
        of_queries = self._on_device()
        with PeakMemory() as second:
            self.per_sample, held = self._time_samples(at, vectors)
        of_samples = self._on_device()
        here, there = (0, held) if self.device.type == "cuda" else (held, 0)
        self.memory = max((first.bytes or 0) - of_queries, (second.bytes or 0) - of_samples - here)
        self.device_memory = max(of_queries, of_samples - there)

    def _load(self) -> tuple[CheckpointPass, float]:
        start = time.perf_counter()
        at = next(self.attributor.passes(_NoBar()))
        self._wait()
        return at, time.perf_counter() - start

    def _time_queries(self, at: CheckpointPass, num_queries: int) -> float:
        draws, rescale = self.attributor.query_draws, [self.attributor.method.rescale]
        timesteps_each, noise_each = draws.per_sample()
        whole = max(1, self.attributor.batch_size // (timesteps_each * noise_each))
        source, count = self._first(min(whole, num_queries), "queries")
        return self._seconds(lambda: at.query_gradients(source, draws, rescale)) / count

    def _time_samples(self, at: CheckpointPass, vectors: int) -> tuple[float, int]:
        """Return the seconds per sample, and the bytes of the stand-ins for query gradients."""
        draws = self.attributor.train_draws
        timesteps_each, noise_each = draws.per_sample()
        whole = max(1, self.attributor.batch_size // (timesteps_each * noise_each))
        source, count = self._first(whole, "train")
        each = at.engine.width * at.dtype.itemsize
        some = max(1, min(vectors, PROBE_BYTES // each))

        def seconds(number: int) -> float:
            stand_ins = torch.rand(number, at.engine.width, dtype=at.dtype, device=at.device)
            return self._seconds(lambda: at.train_products(source, draws, stand_ins)) / count

        taken = seconds(some)
        if some < vectors:  # what one vector costs, and the others as much
            fewer = max(1, some // 2)
            slope = max(0.0, taken - seconds(fewer)) / max(1, some - fewer)
            taken += slope * (vectors - some)
        return taken, some * each

    def _first(self, count: int, role: str) -> tuple[ExampleSource, int]:
        """Return the first examples; of the whole set, so that recorded draws are found."""
        count = min(count, self.num_train)
        source = ExampleSource(Subset(self.train, range(count)), role)
        source.dataset_size = self.num_train
        return source, count

    def _seconds(self, work: Callable[[], Any]) -> float:
        work()
        taken = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            work()
            self._wait()
            taken.append(time.perf_counter() - start)
        return median(taken)

    def _on_device(self) -> int:
        """Return the peak on the GPU since ``PeakMemory`` began to watch."""
        on_gpu = self.device.type == "cuda"
        return torch.cuda.max_memory_allocated(self.device) if on_gpu else 0

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _NoBar:
    def update(self, samples: int) -> None:
        """Nothing to show."""


def _encoding(train: Examples) -> tuple[float, int]:
    """Return the seconds and the bytes that encoding what is not yet encoded will take."""
    missing = train.missing if isinstance(train, FileExamples) else 0
    if not missing:
        return 0.0, 0
    start = time.perf_counter()
    train[0]  # and some more, which share its file
    seconds = time.perf_counter() - start
    done = missing - train.missing
    return seconds * missing / max(1, done), missing * train.bytes_each
