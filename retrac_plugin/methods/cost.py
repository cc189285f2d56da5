"""What features took to compute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from retrac_plugin.attribution.keeping import Keeping

Some = TypeVar("Some")


class Cost(NamedTuple):
    """What backward passes took."""

    seconds: float
    passes: int
    """Samples led forward and backward through the network."""


def timed(compute: Callable[[], tuple[Some, int]], keep: Keeping) -> tuple[Some, Cost]:
    """Return what some work gives, and what it took, in an earlier call if it was done there.

    Args:
        compute: Does it, and counts its passes.
        keep: What keeps parts of it.
    """
    start, before = time.perf_counter(), keep.saved
    found, passes = compute()
    return found, Cost(time.perf_counter() - start + keep.saved - before, passes)
