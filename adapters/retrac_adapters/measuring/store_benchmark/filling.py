"""``python -m retrac_adapters.measuring.store_benchmark.filling --out FOLDER``: of filling a store.

Against plain training passes over the same images, in CPU time, taking turns; and by two processes
against one, by the clock, beside what two processes of plain passes gain on the same machine.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from diffusers import DDPMScheduler

import retrac_plugin as retrac
from retrac_adapters.measuring.engine_benchmark.timing import Contender, measure
from retrac_adapters.measuring.engine_benchmark.workload import SIZES, Workload
from retrac_adapters.measuring.store_benchmark.results import added_to
from retrac_plugin import plugins
from retrac_plugin.cli.telling import tell
from retrac_plugin.store.attributing import fill
from retrac_plugin.store.store import Store

METHODS = {"diffusion-retrac": 1, "retrac-ridge": 10}
"""Passes that each takes of a training image."""

SHARD_SAMPLES = 32

PARTS = ("cost", "processes")


@click.command()
@click.option("--size", default="6.5 M", show_default=True, type=click.Choice(list(SIZES)))
@click.option("--samples", default=512, show_default=True, help="Passes of the training set.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For filling.json.")
def main(size: str, samples: int, rounds: int, parts: tuple[str, ...], out: Path) -> None:
    """Fill stores of random images, on one thread each."""
    torch.set_num_threads(1)
    of = f"{size}, {samples} passes"
    with added_to(out / "filling.json") as results:
        for name, passes in METHODS.items() if "cost" in parts else ():
            found = measure({name: _contender(size, samples, name, passes)}, rounds)[name]
            results[f"{name}, {of}"] = asdict(found) | {"ratio": found.ratio}
        if "processes" in parts:
            results[f"two processes, {of}"] = _two_against_one(size, samples, rounds)
    tell(json.dumps(results, indent=1))


def _contender(size: str, samples: int, name: str, passes: int) -> Contender:
    work = Workload(SIZES[size])
    filler = _filler(work, samples // passes, name)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            filler(Path(folder), (0, 1))

    count = samples // passes * passes
    return Contender(run, count, partial(_plainly, work, count), count)


def _filler(work: Workload, images: int, name: str) -> Callable[[Path, tuple[int, int]], object]:
    """Return what fills a share of a store with the rows of random images, for a method."""
    state = {key: value.detach() for key, value in work.network.state_dict().items()}
    model = retrac.wrap(work.network, DDPMScheduler())
    options = {"batch_size": work.size.batch, "progress": False}
    attributor = plugins.get_attributor(name)(model, [retrac.Checkpoint(state)], **options)
    train = list(work.batch(images)[0])

    def filler(folder: Path, share: tuple[int, int]) -> object:
        store = Store.create(folder, "float16", SHARD_SAMPLES)
        return fill(store, {name: attributor}, train, share)

    return filler


def _plainly(work: Workload, samples: int) -> None:
    """Run forward and backward passes over some samples, as a training does."""
    batch = work.batch(work.size.batch)
    for _ in range(0, samples, work.size.batch):
        work.plain(batch)


def _two_against_one(size: str, samples: int, rounds: int) -> dict[str, Any]:
    """Return how many times faster two processes are than one, by the clock."""
    kinds = {"filling": _fill_share, "plain passes": _plain_share}
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, work in kinds.items():
            one, two = (_together(work, size, samples, count) for count in (1, 2))
            seconds[kind].append((one, two))
    return {
        kind: {
            "one, seconds": median(one for one, _ in pairs),
            "two, seconds": median(two for _, two in pairs),
            "gain": median(one / two for one, two in pairs),
            "gains": [one / two for one, two in pairs],
        }
        for kind, pairs in seconds.items()
    }


def _together(work: Callable[..., None], size: str, samples: int, processes: int) -> float:
    """Return the seconds in which some processes share the work, from when all are ready."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    with tempfile.TemporaryDirectory() as folder:
        shares = [(rank, processes) for rank in range(processes)]
        given = [(size, samples, Path(folder), share, ready) for share in shares]
        started = [context.Process(target=work, args=arguments) for arguments in given]
        for process in started:
            process.start()
        ready.wait()
        start = time.perf_counter()
        for process in started:
            process.join()
        return time.perf_counter() - start


def _fill_share(size: str, samples: int, folder: Path, share: tuple[int, int], ready: Any) -> None:
    torch.set_num_threads(1)
    filler = _filler(Workload(SIZES[size]), samples, "diffusion-retrac")
    ready.wait()
    filler(folder, share)


def _plain_share(size: str, samples: int, folder: Path, share: tuple[int, int], ready: Any) -> None:
    torch.set_num_threads(1)
    work = Workload(SIZES[size])
    ready.wait()
    _plainly(work, samples // share[1])


if __name__ == "__main__":
    main()
