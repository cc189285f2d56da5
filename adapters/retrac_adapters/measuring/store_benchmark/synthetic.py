"""A store of random rows, as large as one likes, and questions to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.features import Side
from retrac_plugin.attribution.highest import Highest
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.progress import over
from retrac_plugin.store.answering import Stored, score_parts
from retrac_plugin.store.key_list import KEY_BYTES, KeyList
from retrac_plugin.store.kind import Kind
from retrac_plugin.store.rows import Rows
from retrac_plugin.store.store import Store
from retrac_plugin.store.whole import OnDisk

TOP = 100


class Products:
    """A question whose scores are inner products, as of the methods without curvature."""

    def score(self, bank: Any) -> Tensor:
        """See ``Scoring.score``."""
        (pair,) = bank.values()
        scores: Tensor = pair.queries.features.flatten(1) @ pair.train.features.flatten(1).T
        return scores


class Asked(NamedTuple):
    """One question, measured."""

    seconds: float
    cpu_seconds: float
    """Of all threads: the same on a machine that others use."""
    peak: int | None
    """Bytes of the process, what it mapped of the store included."""


def fill(folder: Path, samples: int, shape: tuple[int, ...], row_type: str) -> Rows:
    """Write a store of random rows, unless it is there.

    Args:
        folder: Where.
        samples: How many.
        shape: Of a sample's rows.
        row_type: How they are kept.
    """
    store = Store.create(folder, row_type)
    kind = Kind("synthetic", {"samples": str(samples), "shape": str(shape)})
    keys = KeyList.of(number.to_bytes(KEY_BYTES, "little") for number in range(samples))
    rows = store.adding(kind).adding(keys)
    drawn = torch.randn(store.shard_samples, *shape, generator=torch.Generator().manual_seed(0))
    for shard in over(rows.shards(), "writing", "shard", leave=False):
        count = len(shard.keys)
        own = drawn[:count].roll(shard.first % 509, -1)
        if not shard.path.exists():
            shard.write(Side(own, own.flatten(1).norm(dim=1), torch.zeros(count)))
    return rows


def ask(rows: Rows, shape: tuple[int, ...], queries: int) -> Asked:
    """Ask for the exact top lists of some queries, once."""
    drawn = torch.randn(queries, *shape, generator=torch.Generator().manual_seed(1))
    side = Side(drawn, torch.ones(queries), torch.zeros(queries))
    places = torch.arange(len(rows.samples.places))
    found: Any = {"rows": Stored(OnDisk(rows, places, drawn), side)}
    highest = Highest(TOP)
    with PeakMemory(torch.device("cpu")) as peak:
        start, cpu = time.perf_counter(), time.process_time()
        for which, part, _ in score_parts(Products(), found):
            highest.add(which, part)
        highest.top()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Asked(seconds, cpu, peak.bytes)


def reading(read: Callable[[Path], object], rows: Rows) -> tuple[float, float]:
    """Return the seconds, and the CPU's, in which all files are read by ``read``."""
    paths = [shard.path for shard in rows.shards()]
    start, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        read(path)
    return time.perf_counter() - start, time.process_time() - cpu


def plainly(path: Path) -> None:
    """Read a file into memory, a piece at a time, and do nothing with it."""
    buffer = bytearray(2**20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
