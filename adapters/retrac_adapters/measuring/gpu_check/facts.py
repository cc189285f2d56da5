"""What was found, fact by fact, and how facts become tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Row = tuple[str, ...]
"""What a table's row is of, a word for each of its first columns."""


@dataclass(frozen=True)
class Fact:
    """One number.

    Attributes:
        row: Of which row of its part's table.
        column: Of which column.
        value: The number.
        at_most: What it may be; None: it is no check.
    """

    row: Row
    column: str
    value: float
    at_most: float | None = None

    @property
    def failed(self) -> bool:
        """Whether a check failed; what is not a number is never right."""
        return self.at_most is not None and not self.value <= self.at_most

    def __str__(self) -> str:
        bound = "" if self.at_most is None else f" (at most {self.at_most:.3g})"
        return f"{number(self.value)}{bound}{' **FAILED**' if self.failed else ''}"


def number(value: float) -> str:
    """Return a number with four digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def table(heads: Row, facts: Iterable[Fact]) -> str:
    """Return facts as a Markdown table.

    Args:
        heads: What the first columns are called.
        facts: The facts; rows and columns come in their order.
    """
    cells: dict[Row, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for fact in facts:
        cells.setdefault(fact.row, {})[fact.column] = str(fact)
        columns[fact.column] = None
    lines = [
        (*heads, *columns),
        ["---"] * (len(heads) + len(columns)),
        *((*row, *(found.get(column, "-") for column in columns)) for row, found in cells.items()),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
