"""How good a method is by how many draws it takes, with noise of each sample's own and shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import prod
from pathlib import Path

from retrac_plugin import plugins
from retrac_plugin.benchmarks.csv_files import write_records
from retrac_plugin.benchmarks.rows import measure
from retrac_plugin.benchmarks.scoring import Tell, score_methods
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.draws import Draws, Shared, Strided

METHODS = ("retrac-kernel", "d-trak-mean", "trak")
NOISES: dict[str, Callable[[int, int], Draws]] = {"own": Strided, "shared": Shared}
"""Rules by whose noise a sample gets."""
DRAWS = ((1, 1), (2, 1), (5, 1), (10, 1), (10, 4))
"""Timesteps, and noise draws at each."""


@dataclass(frozen=True)
class Point:
    """One method at one number of draws.

    Attributes:
        method: The method.
        queries: The kind of query.
        noise: Whose noise a sample gets, ``"own"`` or ``"shared"``.
        timesteps: How many.
        noise_draws: How many at each.
        passes_each: Network passes a sample.
        value: The LDS.
        low: Lower end of its 95% interval over queries.
        high: Upper end.
    """

    method: str
    queries: str
    noise: str
    timesteps: int
    noise_draws: int
    passes_each: int
    value: float | None
    low: float | None
    high: float | None


def curve(task: Task, methods: Sequence[str], kept: Path, tell: Tell) -> list[Point]:
    """Return the LDS of methods on features at growing numbers of draws.

    Args:
        task: The task; it must have a truth of retraining.
        methods: Names of methods that take both sides at the same draws. Damping is chosen anew at
            each point, on queries held back.
        kept: Folder where scores are kept, so that a killed run goes on.
        tell: Says what is going on.
    """
    (lds,) = (entry for name, (entry, _) in plugins.metrics().items() if name == "lds")
    points = []
    for noise, each in product(NOISES, DRAWS):
        tell(f"{noise} noise, {each[0]} timesteps x {each[1]} draws")
        at = replace(task, shared_draws=NOISES[noise](*each))
        rows = measure(at, score_methods(at, methods, tell, kept), [lds])
        points += [
            Point(r.method, r.queries, noise, *each, prod(each), r.value, r.low, r.high)
            for r in rows
            if r.method in methods
        ]
    return points


def write_points(points: Sequence[Point], path: Path) -> None:
    """Write one line a point."""
    write_records(Point, map(asdict, points), path)
