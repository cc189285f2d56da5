"""What a command prints: in the words of the command line, and never instead of its work."""

from __future__ import annotations

import errno
import os
import sys

import click

from retrac_plugin.cli.wording import in_options


def tell(text: str = "") -> None:
    """Print a line; where nobody reads any more, as after ``| head``, the work goes on silently."""
    context = click.get_current_context(silent=True)
    try:
        click.echo(in_options(text, context.command.params if context else []))
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        # In the pipe's place, since the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
