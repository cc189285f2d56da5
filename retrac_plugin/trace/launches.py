"""Which recorded visits belong to a run as it went on: resumed trainings do some steps again.

A launch is one start of a training, with all its processes. One that goes on from a checkpoint
after ``start`` steps replaces what earlier launches did from that step on. A launch that saved no
checkpoint left nothing that its visits could explain, so it replaces nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.parts import Part

Launch = list[Part]


def surviving(parts: Sequence[Part]) -> list[Part]:
    """Return the parts without the visits that a later launch replaced, in order of time.

    Raises:
        TraceError: If a process of a launch recorded nothing.
    """
    launches = _launches(parts)
    launches = [launch for launch in launches if _saved(launch)] or launches[-1:]
    kept: list[Part] = []
    for position, launch in enumerate(launches):
        _check_complete(launch)
        later = [other[0].origin.start for other in launches[position + 1 :]]
        ordered = sorted(launch, key=lambda part: part.origin.step)
        kept += [_before(part, min(later)) for part in ordered] if later else ordered
    return kept


def _launches(parts: Sequence[Part]) -> list[Launch]:
    """Return the launches, oldest first; processes of one launch start at slightly other times."""
    times = sorted({(p.origin.started, p.origin.start) for p in parts if p.origin.process == 0})
    launches: list[Launch] = [[] for _ in times]
    for part in parts:
        alike = [i for i, (_, start) in enumerate(times) if start == part.origin.start]
        if not alike:
            raise _missing(0, part)
        launches[min(alike, key=lambda i: abs(times[i][0] - part.origin.started))].append(part)
    return launches


def _saved(launch: Launch) -> bool:
    return any(part.origin.step > part.origin.start for part in launch)


def _check_complete(launch: Launch) -> None:
    missing = set(range(launch[0].origin.processes)) - {part.origin.process for part in launch}
    if missing:
        raise _missing(min(missing), launch[0])


def _missing(process: int, part: Part) -> TraceError:
    return TraceError(
        f"training ran in {part.origin.processes} processes, but process {process} left no trace "
        f"beside {str(part.path)!r}: every process must record and save, not the main one alone"
    )


def _before(part: Part, step: int) -> Part:
    early = part.columns["steps"] < step
    return replace(part, columns={name: column[early] for name, column in part.columns.items()})
