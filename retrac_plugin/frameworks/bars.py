"""Progress bars that say what a framework's own would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from retrac_plugin.progress import bar

Bars = Callable[[int], Any]
"""Makes a bar for so many samples: a context manager with ``update(samples)``."""


def one_bar(text: str) -> Bars:
    """Return what makes a bar called ``text``."""
    return lambda total: bar(total, text, shown=True, leave=True)


class NestedBars:
    """A bar of the checkpoints done and, below it, one of the samples of each.

    Args:
        checkpoint_text: What the first bar is called.
        sample_text: What the other ones are called.
        checkpoints: How many there are.
        total: Samples of all checkpoints together.
    """

    def __init__(
        self, checkpoint_text: str, sample_text: str, checkpoints: int, total: int
    ) -> None:
        self.inner_bar, self.samples = one_bar(sample_text), total // checkpoints
        self.checkpoints = bar(checkpoints, checkpoint_text, "checkpoint", shown=True, leave=True)
        self.inner = self.inner_bar(self.samples)

    def __enter__(self) -> NestedBars:
        return self

    def __exit__(self, *error: object) -> None:
        self.inner.close()
        self.checkpoints.close()

    def update(self, samples: int) -> None:
        """Count so many samples as done."""
        self.inner.update(samples)
        if self.inner.n < self.samples:
            return
        self.inner.close()
        self.checkpoints.update()
        if self.checkpoints.n < self.checkpoints.total:
            self.inner = self.inner_bar(self.samples)


def bars_of_self_influence(doing: str, checkpoints: int | None) -> Bars:
    """Return one bar, or one a checkpoint below another where their number is given."""
    text = f"{doing} self influence. Processing"
    if checkpoints is None:
        return one_bar(f"{text} batch")
    return partial(NestedBars, f"{text} checkpoint", f"{text} batch", checkpoints)
