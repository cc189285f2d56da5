"""What a job has finished, kept until its answer is there, so that a killed one goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

Tensors = Mapping[str, Tensor]
Make = Callable[[], Tensors]


class Of(NamedTuple):
    """What a part of a job's work is of."""

    data: tuple[Any, ...]
    """The examples, as the job was given them."""
    decisive: tuple[Any, ...]
    """All else that decides it, beside the job."""


class Found(NamedTuple):
    """A part of a job's work."""

    tensors: Tensors
    was_there: bool
    """Whether an earlier call had made it."""


class Keeping:
    """Keeps parts of a job's work; this one keeps nothing.

    Attributes:
        keeps: Whether it keeps anything; work that is not kept is not cut.
        saved: Seconds that parts which were there took when they were made.
    """

    keeps: bool = False
    saved: float = 0.0

    def part(self, of: Of, make: Make) -> Found:
        """Return a part of the work, made now unless it is there."""
        return Found(make(), was_there=False)


NOTHING = Keeping()
