"""How much memory a computation takes."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import torch

_STATM = Path("/proc/self/statm")
_PAGE = 4096
_EVERY = 0.05
"""Seconds between two looks."""


class PeakMemory:
    """Watches the memory of this process while a ``with`` block runs.

    Attributes:
        bytes: The most that was resident, on the CPU and, where it was used, on the GPU; None where
            the system does not tell. It is the process's whole memory, PyTorch included, and short
            peaks between two looks may be missed.
    """

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start to watch."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and add the GPU's peak."""
        self._done.set()
        self._thread.join()
        self._look()
        if self.bytes is not None and torch.cuda.is_available():
            self.bytes += torch.cuda.max_memory_allocated()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        if _STATM.is_file():
            resident = int(_STATM.read_text().split()[1]) * _PAGE
            self.bytes = max(self.bytes or 0, resident)
