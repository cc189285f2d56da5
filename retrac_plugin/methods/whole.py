"""What a method asks of the whole training set's rows, so that it can score some of them alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from retrac_plugin.attribution.rescaling import directions
from retrac_plugin.methods.curvature import Curvature
from retrac_plugin.methods.kernel_ridge import wide

Make = Callable[[], Tensor]
Keep = Callable[[str, Make], Tensor]
"""``(name, make) -> sum``: keeps sums from one time to the next, or just makes them."""


def not_kept(name: str, make: Make) -> Tensor:
    """Keep nothing."""
    return make()


class Whole(ABC):
    """Sums over the rows of a training set; each is taken when it is first asked for.

    Args:
        count: How many samples it has.
        keep: What keeps them.
    """

    def __init__(self, count: int, keep: Keep = not_kept) -> None:
        self.count, self.keep = count, keep
        self._solved: tuple[Tensor, float, Tensor] | None = None

    def once(self, queries: Tensor, damping: float, solve: Make) -> Tensor:
        """Return what is solved for some queries, once for however many parts are scored.

        Args:
            queries: The queries' rows.
            damping: With which it is solved.
            solve: Solves.
        """
        known = self._solved
        if known is None or known[0] is not queries or known[1] != damping:
            known = self._solved = queries, damping, solve()
        return known[2]

    @abstractmethod
    def parts(self) -> Iterator[Tensor]:
        """Yield all rows, ``[sample, d]`` or ``[sample, timestep, d]``, some samples at a time."""

    @property
    @abstractmethod
    def curvature(self) -> Curvature:
        """Of rows ``[sample, d]``."""

    @abstractmethod
    def coordinates(self, rows: Tensor) -> Tensor:
        """Return some of the rows in the curvature's basis, ``[row, rank]``."""

    @cached_property
    def mean(self) -> Tensor:
        """The mean row at each timestep, ``[timestep, d]``."""
        return self.keep("mean", self._mean)

    @cached_property
    def centred_gram(self) -> Tensor:
        """``sum_i c_t(i) c_t(i)^T`` of the centred rows' directions, ``[timestep, d, d]``."""
        return self.keep("centred_gram", self._centred_gram)

    def _mean(self) -> Tensor:
        parts = self.parts()
        first = next(parts)
        total = wide(first).sum(0)
        for part in parts:
            total += wide(part).sum(0)
        return (total / self.count).to(first.dtype)

    def _centred_gram(self) -> Tensor:
        timesteps, d = self.mean.shape
        total = wide(self.mean).new_zeros(timesteps, d, d)
        for part in self.parts():
            for gram, mean, rows in zip(total, self.mean, part.unbind(1), strict=True):
                centred = wide(directions(rows - mean))
                gram.addmm_(centred.T, centred)
        return total


class InMemory(Whole):
    """Rows that are all in memory.

    Args:
        rows: ``[sample, d]`` or ``[sample, timestep, d]``.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__(len(rows))
        self.rows = rows

    def parts(self) -> Iterator[Tensor]:
        """See ``Whole.parts``."""
        yield from self.rows.split(PART)  # type: ignore[no-untyped-call]

    @property
    def curvature(self) -> Curvature:
        """See ``Whole.curvature``."""
        return self._decomposed[0]

    def coordinates(self, rows: Tensor) -> Tensor:
        """See ``Whole.coordinates``; of all rows they are known."""
        return self._decomposed[1] if rows is self.rows else rows @ self.curvature.basis.T

    @cached_property
    def _decomposed(self) -> tuple[Curvature, Tensor]:
        left, singular, basis = torch.linalg.svd(self.rows, full_matrices=False)
        return Curvature(singular.square(), basis, len(self.rows)), left * singular


PART = 4096
"""Rows that are made wide at a time."""
