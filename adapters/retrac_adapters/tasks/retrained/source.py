"""A registered task whose ground truth is retraining."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from retrac_adapters.tasks.retrained.retraining import Job
from retrac_adapters.tasks.retrained.task import Retrained
from retrac_plugin.benchmarks import Task


class Source(ABC):
    """A ``benchmarks.TaskSource`` that loads its images when it is asked for."""

    @abstractmethod
    def task(self) -> Retrained:
        """Return the task with its images loaded."""

    def prepare(self, directory: Path) -> Task:
        """See ``TaskSource.prepare``."""
        return self.task().prepare(directory)

    def regenerate(self, directory: Path) -> Path:
        """See ``TaskSource.regenerate``."""
        return self.task().regenerate(directory)


def jobs_for(subsets: int, twice: int) -> tuple[Job, ...]:
    """Return the jobs of training once on every subset, and on the first ones with a second seed.

    The second seed shows how noisy retraining is.
    """
    first = tuple((0, subset) for subset in range(subsets))
    return first + tuple((1, subset) for subset in range(twice))


def subsets_of(jobs: tuple[Job, ...]) -> int:
    """Return how many subsets there must be for some jobs."""
    return 1 + max(subset for _, subset in jobs)
