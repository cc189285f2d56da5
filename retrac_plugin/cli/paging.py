"""The page that a command writes beside its scores, which it never loses by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from retrac_plugin.cli.telling import tell

page = click.option(
    "--page/--no-page",
    default=True,
    show_default=True,
    help="Write a page (HTML) beside what is computed, to look at it in a browser.",
)


def try_page(make: Callable[[], str], path: Path) -> Path | None:
    """Write the page of what is saved and return its path; where it fails, say why in a line.

    Args:
        make: Makes its HTML.
        path: Where to write it.
    """
    try:
        write_own(make(), path)
    except Exception as problem:  # the scores are there; whatever a page lacks is no reason to fail
        told = " ".join(str(problem).split()) or type(problem).__name__
        click.echo(f"retrac: no page was written, but all else was: {told}", err=True)
        return None
    return path


def write_own(html: str, path: Path) -> None:
    """Write a page and say where, but over no file that is not a page of ours.

    Raises:
        OutputError: If there is such a file, or it cannot be written.
    """
    from retrac_plugin.errors import OutputError
    from retrac_plugin.errors.guards import writing
    from retrac_plugin.report.shell import is_ours, put

    with writing(path):
        if path.exists() and not is_ours(path):
            raise OutputError(f"{str(path)!r} is there, and is no page of this program: move it")
        put(html, path)
    tell(f"\nthe page: {path}")
