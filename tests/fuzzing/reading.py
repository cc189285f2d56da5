"""Reads one input and says how that ended, within a bounded time."""

from __future__ import annotations

import contextlib
import enum
import io
import signal
import warnings

from retrac_plugin.errors import RetracError

SECONDS = 20
"""Reading a few kilobytes takes milliseconds, and a second on a busy machine."""


class Outcome(enum.Enum):
    RIGHT = "read"
    REFUSED = "errors of ours"


def outcome_of(read, folder) -> Outcome:
    """Return how reading ended; any error but ours is raised, and Hang where it hangs."""
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(SECONDS)
    try:
        read(folder)
    except RetracError as error:
        assert str(error)
        return Outcome.REFUSED
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Outcome.RIGHT


def _hang(number, frame):
    raise Hang


class Hang(BaseException):
    """Not an Exception: what guards a reader must not take it for a damaged file."""


@contextlib.contextmanager
def quiet():
    """Let libraries say what they like of damaged files, where nobody hears it."""
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
