"""The parts of the check, and how one of them is run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from retrac_adapters.measuring.gpu_check.checking import check
from retrac_adapters.measuring.gpu_check.clock import Clock, OutOfTimeError
from retrac_adapters.measuring.gpu_check.demo import compare_switches
from retrac_adapters.measuring.gpu_check.facts import Fact, Row, table
from retrac_adapters.measuring.gpu_check.memory import measure_memory
from retrac_adapters.measuring.gpu_check.setting import Scale
from retrac_adapters.measuring.gpu_check.speed import measure_blocks, measure_speed


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        title: Of its table.
        heads: What the table's first columns are called.
        seconds: How long it may take.
        facts: Finds them: ``(scale, device, clock) -> facts``.
    """

    title: str
    heads: Row
    seconds: float
    facts: Callable[[Scale, torch.device, Clock], Iterator[Fact]]


PARTS = {
    "check": Part("Are scores right? Largest difference over the largest score", ("",), 90, check),
    "memory": Part("Peak memory, the largest network", ("",), 60, measure_memory),
    "speed": Part("Speed", ("parameters", "type"), 150, measure_speed),
    "tf32": Part(
        "The demo's scores where something reads TF32, against those where nothing does",
        ("what reads TF32", "method"),
        150,
        compare_switches,
    ),
    "blocks": Part(
        "Samples a second by batch and block, the largest network", ("batch",), 120, measure_blocks
    ),
}
"""By name; those that say whether anything is wrong come first."""


@dataclass(frozen=True)
class Outcome:
    """What came of a part.

    Attributes:
        title: Of its table.
        heads: What the table's first columns are called.
        facts: What was found.
        seconds: How long it took.
        note: Why it is not whole; empty where it is.
        crashed: Whether it ended in an error.
    """

    title: str
    heads: Row
    facts: list[Fact]
    seconds: float
    note: str
    crashed: bool

    @property
    def failed(self) -> bool:
        """Whether a check failed, or the part itself."""
        return self.crashed or any(fact.failed for fact in self.facts)

    def __str__(self) -> str:
        told = [f"### {self.title}", table(self.heads, self.facts) if self.facts else "", self.note]
        return "\n\n".join(filter(None, told))


def run(name: str, scale: Scale, device: torch.device, patience: float = 1.0) -> Outcome:
    """Run a part within so many times its time, and print its facts as they are found."""
    part, facts, note, crashed = PARTS[name], list[Fact](), "", False
    seconds = patience * part.seconds
    clock = Clock(seconds)
    try:
        for fact in part.facts(scale, device, clock):
            facts.append(fact)
            _tell(f"{name}: {', '.join(filter(None, (*fact.row, fact.column)))}: {fact}")
            clock.check()
    except OutOfTimeError:
        note = f"Cut after {clock.gone:.0f} seconds, of which it has {seconds:.0f}."
    except Exception as error:  # whatever a device may raise: the other parts go on
        note, crashed = f"Ended by {type(error).__name__}: {error}", True
    if note:
        _tell(f"{name}: {note}")
    return Outcome(part.title, part.heads, facts, clock.gone, note, crashed)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
