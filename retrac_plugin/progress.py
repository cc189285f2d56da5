"""How far a long computation is: bars on a terminal, and lines in a log where those are wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")

SILENT, BARS, LINES = "silent", "bars", "lines"

_manner: ContextVar[str] = ContextVar("retrac_plugin.progress", default=BARS)
"""What is shown unasked: nothing, bars on terminals alone, or lines elsewhere."""

EVERY = 60.0
"""Seconds between the lines of one phase."""


@contextmanager
def shown_as(manner: str) -> Iterator[None]:
    """Show progress within in one of the three manners above."""
    before = _manner.set(manner)
    try:
        yield
    finally:
        _manner.reset(before)


def on_terminal() -> bool:
    """Whether a bar can move where it is written: on a terminal, or in a notebook."""
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    return in_notebook or bool(getattr(sys.stderr, "isatty", lambda: False)())


def asked_for(progress: Any) -> bool | None:
    """Return whether a caller asked for a bar, who may have brought one; None: nothing was said."""
    return None if progress is None else bool(progress)


def wants_bar(shown: bool | None) -> bool:
    """Whether a bar is written: if a caller asked for it, and unasked where it can move."""
    if shown is False or _manner.get() == SILENT:
        return False
    return bool(shown) or on_terminal()


def bar(
    total: int, text: str, unit: str = "sample", shown: bool | None = None, leave: bool = False
) -> Any:
    """Return what shows progress: a context manager with ``update(done)``.

    A bar that is rewritten in place fills a log with hundreds of copies of itself. So it is written
    to terminals alone, unless a caller asked for it; in a log, where the command line wants some,
    there is a line at the start of a phase, at its end, and each minute between.

    Args:
        total: Of how many.
        text: What is being done.
        unit: What is counted.
        shown: True if a caller asked for a bar, wherever it is written; False: nothing.
        leave: Whether a bar stays on the terminal when it is done.
    """
    wanted = wants_bar(shown)
    if not wanted and shown is None and _manner.get() == LINES:
        return Lines(total, text, unit)
    return tqdm(total=total, desc=text, unit=unit, disable=not wanted, leave=leave)


def over(
    items: Sequence[Item],
    text: str,
    unit: str = "step",
    shown: bool | None = None,
    leave: bool = True,
) -> Iterator[Item]:
    """Yield items, and show how many are done; see ``bar``."""
    with bar(len(items), text, unit, shown, leave) as progress:
        for item in items:
            yield item
            progress.update()


class Lines:
    """Progress for a log.

    Args:
        total: Of how many.
        text: What is being done.
        unit: What is counted.
    """

    def __init__(self, total: int, text: str, unit: str) -> None:
        self.total, self.text, self.unit, self.done = total, text, unit, 0
        self.note = ""

    def __enter__(self) -> Lines:
        self.started = self.last = time.monotonic()
        if self.total:
            self._say(f"{self.total:,} {self.unit}{'' if self.total == 1 else 's'}")
        return self

    def __exit__(self, *error: object) -> None:
        if self.total:
            self._say_how_far()

    def update(self, done: int = 1) -> None:
        """Count so many more as done."""
        self.done += done
        now = time.monotonic()
        if now - self.last >= EVERY and self.done < self.total:
            self.last = now
            self._say_how_far()

    def set_postfix(self, **values: str) -> None:
        """Note what the next line says beside, such as a loss."""
        self.note = "".join(f", {name} {value}" for name, value in values.items())

    def _say_how_far(self) -> None:
        seconds = time.monotonic() - self.started
        self._say(f"{self.done:,} of {self.total:,} after {seconds:.0f} s{self.note}")

    def _say(self, what: str) -> None:
        print(f"{self.text}: {what}", file=sys.stderr, flush=True)
