"""Files are written whole or not at all, and where that will fail is known before the work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place.

    A reader sees the old file or the new one, never a part; on failure, such as a full disk, the
    old file stays and the temporary one is removed.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_NAME]}-")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except SafetensorError as error:  # its words for a failed write
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Try whether ``write_atomically`` could write a file, without leaving or creating anything.

    Raises:
        OSError: If it could not.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "expected a file, got a folder", str(path))
    home = path.absolute().parent
    while not os.path.lexists(home):
        home = home.parent
    if not home.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{str(home)!r} is no folder", str(path))
    with tempfile.TemporaryFile(dir=home, prefix=f".{path.name[:_NAME]}-") as file:
        file.write(b"?")


_NAME = 200
"""Characters of a name that leave room for a temporary one's."""


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
