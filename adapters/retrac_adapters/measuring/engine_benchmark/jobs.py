"""Peak memory of a whole attribution, beside what ``budget`` says it takes; Linux only."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler

import retrac_plugin as retrac
from retrac_adapters.measuring.engine_benchmark.memory import MIB, status
from retrac_adapters.measuring.engine_benchmark.workload import SIZES, Workload
from retrac_plugin.data.examples import ExampleSource

BATCH = 16
DRAWS = retrac.Strided(1, noise_draws=2)


@dataclass(frozen=True)
class Job:
    """Diffusion-ReTrac at one checkpoint.

    Attributes:
        size: A key of ``SIZES``.
        queries: Number of queries.
        train: Number of training samples.
        max_memory: See ``DiffusionReTrac``.
        in_file: Whether the queries' gradients lie in a file.
    """

    size: str
    queries: int
    train: int
    max_memory: str | None = None
    in_file: bool = False


JOBS = (
    Job("6.5 M", queries=10, train=32),
    Job("6.5 M", queries=50, train=32),
    Job("6.5 M", queries=50, train=128),
    Job("6.5 M", queries=50, train=32, max_memory="1GB"),
    Job("6.5 M", queries=50, train=32, max_memory="800MB", in_file=True),
)


def measured(job: Job) -> dict[str, Any]:
    """Run a job in a process of its own and return what it took, in MiB, and how it was cut."""
    command = [sys.executable, "-m", __spec__.name, json.dumps(asdict(job))]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row: dict[str, Any] = json.loads(found)
    return asdict(job) | row


def _measure(job: Job, store: str) -> dict[str, Any]:
    work = Workload(SIZES[job.size])
    model = retrac.wrap(work.network, DDPMScheduler())
    state = {name: value.clone() for name, value in work.network.state_dict().items()}
    attributor = retrac.DiffusionReTrac(
        model,
        [retrac.Checkpoint(state, 1.0)],
        query_draws=DRAWS,
        batch_size=BATCH,
        max_memory=job.max_memory,
        query_store=store if job.in_file else None,
        progress=False,
    )
    train, queries = work.batch(job.train)[0], work.batch(job.queries, seed=1)[0]
    attributor.attribute(train[:1], queries[:1])  # what is loaded and set up once
    source = ExampleSource(train, "train")
    plan = attributor.plan(source, job.queries, 1)
    law = attributor.needs(source, 1).bytes(plan) / MIB
    found = _peak_of(lambda: attributor.attribute(train, queries))
    return {"mib": found, "law": law, "batch": plan.batch_size, "at once": plan.queries_at_once}


def _peak_of(run: Callable[[], object]) -> float:
    """Return by how many MiB the process's own memory rises, without files that are mapped."""
    before, seen, done = status("RssAnon"), [], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return (max(seen) - before) / MIB


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(_measure(Job(**json.loads(sys.argv[1])), folder)))
