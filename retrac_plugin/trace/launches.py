"""Which recorded visits belong to a run as it went on: resumed trainings do some steps again.

A launch is one start of a training, with all its processes. One that goes on from a checkpoint
after ``start`` steps replaces what earlier launches did from that step on. A launch that saved no
checkpoint left nothing that its visits could explain, so it replaces nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retrac_plugin.trace.parts import Part
from retrac_plugin.trace.wholeness import Launch, check_whole, missing_process


def surviving(parts: Sequence[Part]) -> list[Part]:
    """Return the parts without the visits that a later launch replaced, in order of time.

    Raises:
        TraceError: If a part is missing: of a process, or in between.
    """
    launches = saved_launches(parts)
    check_whole(launches)
    kept: list[Part] = []
    for position, launch in enumerate(launches):
        later = [other[0].origin.start for other in launches[position + 1 :]]
        ordered = sorted(launch, key=lambda part: part.origin.step)
        kept += [_before(part, min(later)) for part in ordered] if later else ordered
    return kept


def replaced_checkpoints(parts: Sequence[Part]) -> frozenset[int]:
    """Return the steps of checkpoints whose stretch was done again, and that were not saved again.

    Their weights lie on a way that the run did not go on.
    """
    valid: set[int] = set()
    gone: set[int] = set()
    for launch in saved_launches(parts):
        start = launch[0].origin.start
        again = {step for step in valid if step > start}
        saved = {part.origin.step for part in launch if part.origin.step > start}
        gone = (gone | again) - saved
        valid = (valid - again) | saved
    return frozenset(gone)


def saved_launches(parts: Sequence[Part]) -> list[Launch]:
    """Return the launches that saved a checkpoint, oldest first; the last one where none did.

    Raises:
        TraceError: If a launch lacks its main process.
    """
    launches = _launches(parts)
    return [launch for launch in launches if _saved(launch)] or launches[-1:]


def _launches(parts: Sequence[Part]) -> list[Launch]:
    """Return the launches, oldest first; processes of one launch start at slightly other times."""
    times = sorted({(p.origin.started, p.origin.start) for p in parts if p.origin.process == 0})
    launches: list[Launch] = [[] for _ in times]
    for part in parts:
        alike = [i for i, (_, start) in enumerate(times) if start == part.origin.start]
        if not alike:
            raise missing_process(0, part)
        launches[min(alike, key=lambda i: abs(times[i][0] - part.origin.started))].append(part)
    return launches


def _saved(launch: Launch) -> bool:
    return any(part.origin.step > part.origin.start for part in launch)


def _before(part: Part, step: int) -> Part:
    early = part.columns["steps"] < step
    return replace(part, columns={name: column[early] for name, column in part.columns.items()})
