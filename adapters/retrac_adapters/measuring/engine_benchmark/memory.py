"""Peak memory of one way to run, each in a process of its own; Linux only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from retrac_adapters.measuring.engine_benchmark.workload import DRAWS, SIZES, Workload
from retrac_plugin.gradients.engine import GradientEngine
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.vmapped import VmapEngine

QUERIES = 10
MIB = 2**20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(size: str, way: str, batch: int, samples: int) -> float:
    """Return by how many MiB a run's peak exceeds what was there before it.

    Before it there are the network, the data and, where there are products, the queries' matrix.

    Args:
        size: A key of ``SIZES``.
        way: A key of ``WAYS``.
        batch: Samples per pass.
        samples: Samples in all.
    """
    arguments = [size, way, str(batch), str(samples)]
    command = [sys.executable, "-m", __spec__.name, *arguments]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    mib: float = json.loads(found)
    return mib


def _plain(work: Workload, batch: int, samples: int) -> Callable[[], None]:
    data = work.batch(batch)

    def run() -> None:
        for _ in range(0, samples, batch):
            work.plain(data)

    work.plain(work.batch(1))
    return run


def _products(
    work: Workload, engine: GradientEngine, batch: int, samples: int
) -> Callable[[], None]:
    vectors, data = torch.randn(QUERIES, engine.width), work.batch(batch)

    def run() -> None:
        for _ in engine.products([data] * (samples // batch), 1, vectors):
            pass

    return run


def _query_side(work: Workload, batch: int, samples: int) -> Callable[[], None]:
    engine, data = StreamedEngine(work.losses, work.parameters), work.batch(batch)

    def run() -> None:
        for _ in range(0, samples, batch):
            engine.gradients(data, DRAWS)

    return run


def _sketch(work: Workload, batch: int, samples: int) -> Callable[[], None]:
    engine, data = StreamedEngine(work.losses, work.parameters), work.batch(batch)

    def run() -> None:
        for _ in engine.features([data] * (samples // batch), 1, CountSketch(4096)):
            pass

    return run


WAYS: dict[str, Callable[[Workload, int, int], Callable[[], None]]] = {
    "plain pass": _plain,
    "train side, 10 queries": lambda work, batch, samples: _products(
        work, StreamedEngine(work.losses, work.parameters), batch, samples
    ),
    "query side, 16 draws": _query_side,
    "count-sketch, d = 4,096": _sketch,
    "vmap(grad), 10 queries": lambda work, batch, samples: _products(
        work, VmapEngine(work.losses, work.parameters), batch, samples
    ),
}
"""Ways to run, by name."""


def peak_of(run: Callable[[], object]) -> float:
    """Return by how many MiB the process's memory rises at most while ``run`` runs."""
    before = status("VmRSS")
    _RESET.write_text("5")  # the high-water mark starts again from here
    run()
    return (status("VmHWM") - before) / MIB


def status(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    size, way, batch, samples = sys.argv[1:]
    torch.set_num_threads(1)
    prepared = WAYS[way](Workload(SIZES[size]), int(batch), int(samples))
    sys.stdout.write(json.dumps(peak_of(prepared)))
