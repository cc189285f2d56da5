"""How much memory a computation takes."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import torch

from retrac_plugin.model.devices import peak_bytes, start_over

_STATM = Path("/proc/self/statm")
_PAGE = 4096
_EVERY = 0.05
"""Seconds between two looks."""


class PeakMemory:
    """Watches the memory of this process while a ``with`` block runs.

    Args:
        device: Where it is computed.

    Attributes:
        bytes: The most that was resident, on the CPU and, where it is another, on the device; None
            where the system does not tell. On the CPU that is the process's whole memory, PyTorch
            included, and short peaks between two looks may be missed.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start to watch."""
        start_over(self.device)
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and add the device's peak."""
        self._done.set()
        self._thread.join()
        self._look()
        if self.bytes is not None:
            self.bytes += peak_bytes(self.device)

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        if _STATM.is_file():
            resident = int(_STATM.read_text().split()[1]) * _PAGE
            self.bytes = max(self.bytes or 0, resident)
