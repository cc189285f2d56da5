"""Where a command will write, tried before its work."""

from __future__ import annotations

from pathlib import Path


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written.

    Raises:
        OutputError: If it cannot.
    """
    from retrac_plugin.errors.guards import writing
    from retrac_plugin.files import check_writable

    with writing(path):
        check_writable(path)
