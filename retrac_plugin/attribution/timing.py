"""A few batches of an attribution, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.data import Subset

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.budget import Plan
from retrac_plugin.attribution.passes import CheckpointPass, nothing
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.train_side import train_products
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.model.devices import peak_bytes, wait_for

REPEATS = 3
"""Batches of each side that are timed, after one that is not."""

PROBE_BYTES = 2**28
"""What the stand-ins for the queries' gradients may take while the training side is timed."""


class Probe:
    """A few batches, timed at the first checkpoint.

    Args:
        attributor: The method.
        train: The training set.
        plan: How the job is cut.
        methods: How many methods share the gradients, with a matrix of them each.

    Attributes:
        loading: Seconds to load a checkpoint, and to check its first gradients.
        per_query: Seconds per query.
        per_sample: Seconds per training sample, with its products with a block of queries.
        memory: Bytes of the process, without the queries' gradients.
        device_memory: Bytes on the GPU, likewise.
        query_bytes: Bytes of the gradients of a block of queries.
    """

    def __init__(
        self, attributor: DiffusionAttributor, train: Examples, plan: Plan, methods: int
    ) -> None:
        self.attributor, self.train, self.batch_size = attributor, train, plan.batch_size
        self.device = attributor.device
        self.num_train = len(ExampleSource(train, "train"))
        num_queries = plan.queries_at_once
        vectors = methods * num_queries
        with PeakMemory(self.device) as first:
            warm, _ = self._load()
            self._time_queries(warm, num_queries)
            at, loading = self._load()
            self.query_bytes = vectors * at.engine.width * at.dtype.itemsize
            self.per_query, checking = self._time_queries(at, num_queries)
            self.loading = loading + checking
        of_queries = peak_bytes(self.device)
        with PeakMemory(self.device) as second:
            self.per_sample, held = self._time_samples(at, vectors)
        of_samples = peak_bytes(self.device)
        here, there = (held, 0) if self.device.type == "cpu" else (0, held)
        self.memory = max((first.bytes or 0) - of_queries, (second.bytes or 0) - of_samples - here)
        self.device_memory = max(of_queries, of_samples - there)

    def _load(self) -> tuple[CheckpointPass, float]:
        start = time.perf_counter()
        at = next(self.attributor.setting.passes(nothing, self.batch_size))
        wait_for(self.device)
        return at, time.perf_counter() - start

    def _time_queries(self, at: CheckpointPass, num_queries: int) -> tuple[float, float]:
        """Return the seconds per query, and how many more the first ones took."""
        draws, rescale = self.attributor.query_draws, [self.attributor.method.rescale]
        timesteps_each, noise_each = draws.per_sample()
        whole = max(1, self.batch_size // (timesteps_each * noise_each))
        source, count = self._first(min(whole, num_queries), "queries")
        taken, first = self._seconds(lambda: query_gradients(at, source, draws, rescale))
        return taken / count, max(0.0, first - taken)

    def _time_samples(self, at: CheckpointPass, vectors: int) -> tuple[float, int]:
        """Return the seconds per sample, and the bytes of the stand-ins for query gradients."""
        draws = self.attributor.train_draws
        timesteps_each, noise_each = draws.per_sample()
        whole = max(1, self.batch_size // (timesteps_each * noise_each))
        source, count = self._first(whole, "train")
        each = at.engine.width * at.dtype.itemsize
        some = max(1, min(vectors, PROBE_BYTES // each))

        def seconds(number: int) -> float:
            stand_ins = torch.rand(number, at.engine.width, dtype=at.dtype, device=at.device)
            taken, _ = self._seconds(lambda: train_products(at, source, draws, stand_ins))
            return taken / count

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

    def _seconds(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Return the median of some times, and the one before them, which warms up."""
        taken = []
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            work()
            wait_for(self.device)
            taken.append(time.perf_counter() - start)
        return median(taken[1:]), taken[0]
