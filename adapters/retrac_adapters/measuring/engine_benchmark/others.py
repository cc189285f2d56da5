"""Other ways to the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from retrac_adapters.measuring.engine_benchmark.timing import Contender
from retrac_adapters.measuring.engine_benchmark.workload import Workload
from retrac_plugin.gradients.vmapped import VmapEngine


def vmapped(work: Workload, vectors: Tensor) -> Contender:
    """``torch.func``: vmap(grad), then products."""
    batch, samples = work.batch(work.size.batch), work.size.batch
    engine = VmapEngine(work.losses, work.parameters)
    return Contender(
        lambda: next(iter(engine.products([batch], 1, vectors))),
        samples,
        lambda: work.plain(batch),
        samples,
    )


def one_at_a_time(work: Workload, queries: int) -> Contender:
    """The official code's loop over training samples, step by step as written there.

    Per sample: a list of gradients, their norm by concatenation, their division by it, and for each
    query a Python sum over parameters of elementwise products. https://github.com/txie1/
    diffusion-ReTrac, ``diffusion_tracin.py``. Two queries' gradients stand for all, since only
    their number is timed.
    """
    leaves = list(work.leaves.values())
    samples, batch = 2, work.batch(work.size.batch)
    tests = [[torch.randn_like(leaf) for leaf in leaves] for _ in range(min(2, queries))]

    def run() -> None:
        for i in range(samples):
            gradient = _gradient(work, tuple(part[i : i + 1] for part in batch))
            norm = torch.norm(torch.cat([part.reshape(-1) for part in gradient]), 2).item()
            gradient = [part / norm for part in gradient]
            for j in range(queries):
                test = tests[j % len(tests)]
                float(sum(torch.sum(a * b) for a, b in zip(gradient, test, strict=True)))

    return Contender(run, samples, lambda: work.plain(batch), work.size.batch)


def one_draw_at_a_time(work: Workload) -> Contender:
    """The official code's loop over the noise draws of a query."""
    samples, batch = 4, work.batch(max(16, work.size.batch))

    def run() -> None:
        total = [torch.zeros_like(leaf) for leaf in work.leaves.values()]
        for i in range(samples):
            gradient = _gradient(work, tuple(part[i : i + 1] for part in batch))
            total = [a + b for a, b in zip(total, gradient, strict=True)]

    return Contender(run, samples, lambda: work.plain(batch), len(batch[0]))


def _gradient(work: Workload, batch: tuple[Tensor, ...]) -> list[Tensor]:
    loss = work.losses(work.leaves, batch).mean()
    return list(torch.autograd.grad(loss, list(work.leaves.values())))


def contenders(work: Workload, ten: Tensor) -> dict[str, Contender]:
    """Return the rows of the table."""
    make: dict[str, Callable[[], Contender]] = {
        "vmap(grad), 10 queries": lambda: vmapped(work, ten),
        "official loop, 10 queries": lambda: one_at_a_time(work, 10),
        "official loop, 100 queries": lambda: one_at_a_time(work, 100),
        "official loop, query side": lambda: one_draw_at_a_time(work),
    }
    return {name: contender() for name, contender in make.items()}
