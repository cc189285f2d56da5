"""What a command prints: in the words of the command line, and never instead of its work."""

from __future__ import annotations

import errno
import os
import sys

import click

from retrac_plugin.cli.voice import voice
from retrac_plugin.cli.wording import in_options


def tell(text: str = "") -> None:
    """Print a line, unless the command is to be quiet; to stderr where stdout is for the answer.

    Where nobody reads any more, as after ``| head``, the work goes on silently.
    """
    if voice().quiet:
        return
    context = click.get_current_context(silent=True)
    try:
        parameters = context.command.params if context else []
        click.echo(in_options(text, parameters), err=voice().as_json)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        # In the pipe's place, since the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
