"""Reads one input and says how that ended, within a bounded time."""

from __future__ import annotations

import contextlib
import enum
import io
import signal
import warnings

from retrac_plugin.errors import RetracError

SECONDS, OF_PROCESSOR = 120, 15
"""Of a clock, for what waits, and of the processor, whose seconds a busy machine does not stretch.
The largest picture that Pillow opens takes three."""


class Outcome(enum.Enum):
    RIGHT = "read"
    REFUSED = "errors of ours"


def outcome_of(read, folder) -> Outcome:
    """Return how reading ended; any error but ours is raised, and Hang where it hangs."""
    timers = {signal.ITIMER_REAL: signal.SIGALRM, signal.ITIMER_PROF: signal.SIGPROF}
    before = {number: signal.signal(number, _hang) for number in timers.values()}
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_PROF, OF_PROCESSOR)
    try:
        read(folder)
    except RetracError as error:
        assert str(error)
        return Outcome.REFUSED
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
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
