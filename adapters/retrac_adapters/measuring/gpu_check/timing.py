"""Seconds and memory of what runs on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from retrac_plugin.model.devices import held_bytes, peak_bytes, start_over, wait_for

MIB = 2**20


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        seconds: How long it took.
        peak: MiB that it held at most beside what was there before, see ``tells_memory``.
        left: MiB that it left behind.
    """

    seconds: float
    peak: float
    left: float


def tells_memory(device: torch.device) -> bool:
    """Say whether a device tells what it holds; the CPU and Apple's do not."""
    return device.type not in ("cpu", "mps")


def timed(work: Callable[[], object], device: torch.device) -> Run:
    """Run something, once the device has done all else."""
    wait_for(device)
    start_over(device)
    before, start = held_bytes(device), time.perf_counter()
    work()
    wait_for(device)
    seconds = time.perf_counter() - start
    peak, left = peak_bytes(device) - before, held_bytes(device) - before
    return Run(seconds, peak / MIB, left / MIB)


def second(work: Callable[[], object], device: torch.device) -> Run:
    """Run something twice, and return the second run, which finds all that is set up once."""
    work()
    return timed(work, device)
