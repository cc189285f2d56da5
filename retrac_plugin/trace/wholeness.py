"""Whether any part of a trace is missing: a gap would give step size 0, and older visits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.parts import FIRST, Part

Launch = list[Part]
"""The parts of one start of a training, of all its processes."""


def check_whole(launches: Sequence[Launch]) -> None:
    """Refuse launches, oldest first, between whose visits some are missing.

    Raises:
        TraceError: If a process left no part, a part in between is missing, or a launch goes on
            where none before it had come to.
    """
    for launch in launches:
        _check_processes(launch)
        _check_chain(launch)
    for before, launch in pairwise(launches):
        _check_reached(before, launch)


def missing_process(process: int, part: Part) -> TraceError:
    """Return the error that a process of a launch left nothing."""
    return TraceError(
        f"training ran in {part.origin.processes} processes, but process {process} left no trace "
        f"beside {str(part.path)!r}: every process must record and save, not the main one alone"
    )


def _check_processes(launch: Launch) -> None:
    found = {part.origin.process for part in launch}
    missing = set(range(launch[0].origin.processes)) - found
    if missing:
        raise missing_process(min(missing), launch[0])
    if launch[0].origin.noise != "rebuilt":
        return  # logs of several processes begin their stretches at other moments
    saved = {p: {part.origin.step for part in launch if part.origin.process == p} for p in found}
    for part in launch:
        for process, steps in sorted(saved.items()):
            if part.origin.step not in steps:
                raise missing_process(process, part)


def _check_chain(launch: Launch) -> None:
    known = {(part.origin.process, part.origin.step) for part in launch}
    for part in launch:
        after = part.origin.after
        if after not in (None, FIRST) and (part.origin.process, after) not in known:
            what = "saved" if part.origin.noise == "rebuilt" else "begun"
            raise TraceError(
                f"{str(part.path)!r} goes on from a part that was {what} after {after} steps, and "
                "that is not there: the visits in it are missing. Put it back where it was "
                f"({_place(part, after)}). If it is lost, so are they: move the trace away, and "
                "timesteps and noise are drawn anew"
            )


def _place(part: Part, after: int | None) -> str:
    if part.origin.noise == "rebuilt":
        return f"{part.path.name} in checkpoint-{after}"
    return f"{part.path.name.replace(f'step{part.origin.step:09d}', f'step{after:09d}')} beside it"


def _check_reached(before: Launch, launch: Launch) -> None:
    reached, start = max(_end(part) for part in before), launch[0].origin.start
    if start > reached:
        raise TraceError(
            f"{str(launch[0].path)!r} was recorded from step {start} on, but the launch before it, "
            f"{str(before[-1].path)!r}, came to step {reached}: what was trained between them is "
            "missing. Put back the parts of that stretch. If it was not recorded, move the traces "
            "away, and timesteps and noise are drawn anew"
        )


def _end(part: Part) -> int:
    steps = part.columns["steps"]
    return max(part.origin.step, int(steps.max()) + 1 if len(steps) else 0)
