"""Ratios of CPU time that survive a busy machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from retrac_plugin.progress import over

Step = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Attributes:
        run: What to time.
        samples: How many samples it runs.
        plain: The plain pass over comparable samples.
        plain_samples: How many that runs.
    """

    run: Step
    samples: int
    plain: Step
    plain_samples: int


@dataclass(frozen=True)
class Measured:
    """CPU time per sample over that of the plain pass, which ran directly before.

    Attributes:
        ratios: One a round.
        seconds: Median CPU seconds per sample.
        plain_seconds: The same of the plain pass.
    """

    ratios: list[float]
    seconds: float
    plain_seconds: float

    @property
    def ratio(self) -> float:
        """The median over rounds."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest ratio."""
        return min(self.ratios), max(self.ratios)


def measure(contenders: Mapping[str, Contender], rounds: int) -> dict[str, Measured]:
    """Time all contenders in turn, ``rounds`` times after one round to warm up."""
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in over(range(rounds + 1), "rounds", "round"):
        for name, contender in contenders.items():
            plain = _seconds(contender.plain) / contender.plain_samples
            pairs[name].append((_seconds(contender.run) / contender.samples, plain))
    return {name: _summary(timed[1:]) for name, timed in pairs.items()}


def _summary(pairs: list[tuple[float, float]]) -> Measured:
    own, plain = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    return Measured(ratios, statistics.median(own), statistics.median(plain))


def _seconds(step: Step) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start
