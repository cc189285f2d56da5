"""Runs a measurement in a process of its own, so that its memory is its own."""

from __future__ import annotations

import multiprocessing
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tests.attributor_table.measure import Measured, measure

START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""From a server that has imported what all need, where the system knows such."""


def measure_alone(name: str, run: Path, limit: int) -> Measured:
    """Return what ``measure`` does, or that it failed, or took more than ``limit`` seconds."""
    context: Any = multiprocessing.get_context(START)
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, name, run))
    process.start()
    sender.close()
    try:
        if receiver.poll(limit):
            found: Measured = receiver.recv()
            return found
        return Measured(name, f"not within {limit} seconds")
    except EOFError:
        return Measured(name, "fails: its process ended without a word")
    finally:
        process.kill()
        process.join()


def _report(sender: Connection, name: str, run: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        found = measure(name, run)
    except Exception as error:  # a third party's method may raise anything
        found = Measured(name, f"fails: {type(error).__name__}: {error}")
    sender.send(found)
