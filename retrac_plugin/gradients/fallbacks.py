"""Which parameters no layer rule takes, why, and what takes them instead."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from retrac_plugin.errors import RetracError


class Fallbacks:
    """What is known of them at one checkpoint.

    Attributes:
        reasons: Why there is no rule, by name; in the order in which they were found.
        row_by_row: Why ``vmap(grad)`` does not take them either, or None.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.row_by_row: str | None = None

    def add(self, names: Iterable[str], reason: str) -> None:
        """Note parameters; what was said first of one stays."""
        for name in names:
            self.reasons.setdefault(name, reason)

    def give_up_vmap(self, reason: str) -> None:
        """Take all of them row by row from now on."""
        self.row_by_row = self.row_by_row or reason

    def report(self) -> dict[str, str]:
        """Return the reasons by name, for ``GradientEngine.fallbacks``."""
        if self.row_by_row is None:
            return dict(self.reasons)
        last = f"; taken one sample after the other: {self.row_by_row}"
        return {name: reason + last for name, reason in self.reasons.items()}


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line.

    Raises:
        Exception: The error itself, if it is one of ours or says that memory does not suffice:
            another way to the gradients would only hide it.
    """
    if isinstance(error, (RetracError, MemoryError, torch.OutOfMemoryError)):
        raise error
    text = " ".join((str(error).strip() or "no message").split())
    if "allocate memory" in text or "not enough memory" in text:
        raise error
    return f"{type(error).__name__}: {text if len(text) < 200 else text[:197] + '...'}"
