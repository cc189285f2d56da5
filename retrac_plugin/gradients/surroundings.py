"""What a caller may have switched on around an engine, and what that does to it.

Gradients, products and norms are computed without autocast and outside inference mode, whatever
the caller is in; only the network runs under the caller's autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Autocast:
    """An autocast that is on.

    Attributes:
        device_type: For which devices.
        dtype: To what it casts.
    """

    device_type: str
    dtype: torch.dtype

    @classmethod
    def of(cls, device: torch.device | None) -> Autocast | None:
        """Return the one that is on for a device, or None."""
        if device is None or not torch.amp.is_autocast_available(device.type):
            return None
        if not torch.is_autocast_enabled(device.type):
            return None
        return cls(device.type, torch.get_autocast_dtype(device.type))

    def restored(self) -> AbstractContextManager[object]:
        """Return a context in which it is on; without its cache, which outlives parameters."""
        return torch.autocast(self.device_type, self.dtype, cache_enabled=False)


def computing(device: torch.device) -> ExitStack:
    """Return a context without autocast and inference mode; already entered, to be left once."""
    stack = ExitStack()
    stack.enter_context(torch.inference_mode(False))
    if torch.amp.is_autocast_available(device.type):
        stack.enter_context(torch.autocast(device.type, enabled=False))
    return stack


def within(
    context: Callable[[], AbstractContextManager[object]], items: Iterator[T]
) -> Iterator[T]:
    """Yield what an iterator yields; it runs in a context, and who takes the items does not."""
    end = object()
    while True:
        with context():
            item = next(items, end)
        if item is end:
            return
        yield item  # type: ignore[misc]
