"""Reads the trace of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.launches import replaced_checkpoints, surviving
from retrac_plugin.trace.merging import (
    check_together,
    join_columns,
    join_keys,
    join_likenesses,
    join_rows,
    without_copies,
)
from retrac_plugin.trace.part_files import read_part
from retrac_plugin.trace.parts import COLUMNS, LOG_FOLDER, TRACE_FILE, Part
from retrac_plugin.trace.places import find_elsewhere, find_parts
from retrac_plugin.trace.trace import Trace


def is_recorded(directory: str | Path) -> bool:
    """Return whether a run holds a trace."""
    return bool(find_parts(Path(directory)))


def read_trace(directory: str | Path) -> Trace:
    """Read the trace of a run from its parts, whichever processes and launches left them.

    Args:
        directory: The run; parts lie in it and in its ``checkpoint-STEP`` folders, see ``places``.

    Raises:
        TraceError: If there is none, one is missing, or they do not belong together.
    """
    paths = find_parts(Path(directory))
    if not paths:
        raise _no_trace(Path(directory))
    parts = without_copies([read_part(path) for path in paths])
    check_together(parts)
    return _trace_of(surviving(parts), replaced_checkpoints(parts))


def _no_trace(directory: Path) -> TraceError:
    elsewhere = ", ".join(repr(str(path)) for path in find_elsewhere(directory))
    below = f". Further below there are those of {elsewhere}: name one of them" if elsewhere else ""
    return TraceError(
        f"no {TRACE_FILE} in {str(directory)!r} or a checkpoint-STEP folder of it, and no "
        f"{LOG_FOLDER}: the run was not recorded{below}"
    )


def _trace_of(parts: Sequence[Part], replaced: frozenset[int]) -> Trace:
    columns, order = join_columns(parts)
    origin = parts[0].origin
    return Trace(
        **{name: columns[name] for name in COLUMNS},
        keys=join_keys([part.looks for part in parts], origin.num_samples),
        seed=origin.seed,
        noise_origin=origin.noise,
        kept=join_rows(parts, order),
        names=parts[0].names,
        command=parts[-1].command,
        likenesses=join_likenesses([part.looks for part in parts]),
        begun=min(part.origin.start for part in parts),
        replaced=replaced,
    )
