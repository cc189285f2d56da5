"""Calls of the command line that are to succeed."""

from click.testing import CliRunner

from retrac_plugin.cli import main
from tests.threads import threads_restored


def called(*words):
    """Call ``retrac`` with some words; return what it said."""
    with threads_restored():
        done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output
