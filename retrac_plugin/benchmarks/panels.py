"""A benchmark's rows as panels: one metric on one kind of query, a line a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrac_plugin.benchmarks.rows import Row

FIRST = "lds"
"""The metric that is shown first, where it was measured: the one that retraining backs."""


@dataclass(frozen=True)
class Line:
    """A method's value and interval, placed on the panel's scale.

    Attributes:
        method: Its name.
        text: Value and interval.
        at: Where the value lies, in percent of the scale.
        start: Where the interval begins; equal to ``at`` where there is none.
        end: Where it ends.
        is_control: Whether it is no method but something to compare with.
    """

    method: str
    text: str
    at: float
    start: float
    end: float
    is_control: bool


@dataclass(frozen=True)
class Panel:
    """A metric on a kind of query.

    Attributes:
        metric: Its name.
        higher_is_better: Its direction.
        lines: The best first, or the highest where no direction is better.
        zero: Where 0 lies, in percent of the scale, or None where it is not on it.
    """

    metric: str
    higher_is_better: bool | None
    lines: Sequence[Line]
    zero: float | None


def panels(rows: Sequence[Row], controls: Sequence[str]) -> list[Panel]:
    """Return the panels of one kind of query, the metric that counts most first.

    Args:
        rows: Of that kind of query.
        controls: Methods that are there to be compared with; so is whatever stands in parentheses.
    """
    measured = [row for row in rows if row.value is not None]
    names = sorted({row.metric for row in measured}, key=lambda name: (name != FIRST, name))
    return [_panel([row for row in measured if row.metric == name], controls) for name in names]


def _panel(rows: Sequence[Row], controls: Sequence[str]) -> Panel:
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    low, high = min(ends), max(ends)
    if low > 0 and low < (high - low):
        low = 0.0  # near enough to be shown, so that lengths can be compared
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    upwards = rows[0].higher_is_better is not False
    ordered = sorted(rows, key=lambda row: row.value or 0.0, reverse=upwards)
    lines = []
    for row in ordered:
        value = row.value or 0.0
        start = value if row.low is None else row.low
        end = value if row.high is None else row.high
        is_control = row.method in controls or row.method.startswith("(")
        lines.append(
            Line(row.method, _text(row), place(value), place(start), place(end), is_control)
        )
    zero = place(0.0) if low <= 0 <= high else None
    return Panel(rows[0].metric, rows[0].higher_is_better, lines, zero)


def _text(row: Row) -> str:
    interval = "" if row.low is None or row.high is None else f" [{row.low:.2g}, {row.high:.2g}]"
    return f"{row.value:.3g}{interval}".replace("-", "\N{MINUS SIGN}")
