"""Around what reads and writes files: whatever goes wrong there becomes an error of ours.

A file that someone brought may be damaged in any way, and the libraries that read it then raise
anything. What is read within ``reading`` ends in right data or in one error that names the file.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrac_plugin.errors import OutputError, RetracError

TEXT_BYTES = 2**28
"""More than any configuration, index or table of captions has; parsing takes many times as much."""


@contextmanager
def reading(
    path: Path, error: type[RetracError], what: str = "", at_most: int | None = None
) -> Iterator[None]:
    """Around code that reads a file.

    Args:
        path: The file.
        error: What to raise.
        what: What is read, such as ``"the trace"``.
        at_most: Bytes that such a file can have.

    Raises:
        RetracError: An ``error`` if the file is none, such as a named pipe, on which reading would
            wait for ever; or if anything is raised within. Errors of ours stay as they are.
    """
    name = f"{what} {str(path)!r}".strip()
    size = _size_of(path, name, error)
    if at_most is not None and size > at_most:
        raise error(f"cannot read {name}: expected at most {at_most:,} bytes, got {size:,}")
    try:
        yield
    except RetracError:
        raise
    except RecursionError as problem:
        raise error(f"cannot read {name}: it is nested too deeply") from problem
    except Exception as problem:  # a damaged file may raise anything
        told = str(problem) or type(problem).__name__
        raise error(f"cannot read {name}: {told}") from problem


def _size_of(path: Path, name: str, error: type[RetracError]) -> int:
    """Return a file's size; folders, pipes and devices have none."""
    try:
        found = path.stat()
    except (OSError, ValueError) as problem:  # ValueError: a name that no file can have
        raise error(f"cannot read {name}: {problem}") from problem
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise error(f"cannot read {name}: expected a file, got {kind}")
    return found.st_size


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around code that writes a file, or checks that it can be written.

    Raises:
        OutputError: If it cannot, such as on a full disk.
    """
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise OutputError(
            f"cannot write {str(path)!r}: {reason}. Nothing of it was left there; make room, or "
            "name another place"
        ) from problem
