"""How long a part may take: it is cut where it stands, between two batches."""

from __future__ import annotations

import time


class OutOfTimeError(Exception):
    """A part has had its time."""


class Clock:
    """A part's time, which starts now.

    It is its attributions' progress bar, too, and so is looked at with every batch.

    Args:
        seconds: How many it has.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._start = seconds, time.monotonic()

    @property
    def gone(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def check(self) -> None:
        """Go on, if there is time.

        Raises:
            OutOfTimeError: If there is none.
        """
        if self.gone > self._seconds:
            raise OutOfTimeError

    def bar(self, samples: int) -> Clock:
        """Return a progress bar, as an attributor's ``progress`` makes one."""
        return self

    def update(self, samples: int) -> None:
        """Do as a progress bar, and look at the time."""
        self.check()

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *raised: object) -> None:
        """Leave the time as it is."""
