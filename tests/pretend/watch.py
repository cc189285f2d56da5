"""What the pretend device has to do: bytes held, and when the CPU waits for it, and where."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

import retrac_plugin

PACKAGE = retrac_plugin.__path__[0]
Waits = Counter[tuple[str, str]]
"""How often, by what was waited for and the line of ours that asked for it."""

_watches: list[Waits] = []
_launches: list[Launches] = []


class Launches:
    """How many kernels were launched; views, and memory that nothing fills, need none."""

    count = 0


class Memory:
    """CPU memory that stands for a piece of the device's."""

    held: ClassVar[int] = 0
    """Bytes of all pieces that live."""
    peak: ClassVar[int] = 0
    """The most that were held since ``start_over``."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self._bytes = storage.nbytes()
        Memory.held += self._bytes
        Memory.peak = max(Memory.peak, Memory.held)

    def __del__(self) -> None:
        Memory.held -= self._bytes

    @classmethod
    def start_over(cls) -> None:
        """Forget the peak."""
        cls.peak = cls.held


def note(wait: str) -> None:
    """Count a moment at which the CPU waits, or would on a GPU: copies from pageable memory do."""
    if not _watches:
        return
    place = _place(sys._getframe(1))
    for waits in _watches:
        waits[wait, place] += 1


def launched() -> None:
    """Count a kernel."""
    for launches in _launches:
        launches.count += 1


@contextmanager
def counting() -> Iterator[Launches]:
    """Count kernels meanwhile."""
    launches = Launches()
    _launches.append(launches)
    try:
        yield launches
    finally:
        _launches.remove(launches)


def _place(frame: FrameType | None) -> str:
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "elsewhere"
    return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"


@contextmanager
def watching() -> Iterator[Waits]:
    """Count waits meanwhile."""
    waits: Waits = Counter()
    _watches.append(waits)
    try:
        yield waits
    finally:
        _watches.remove(waits)
