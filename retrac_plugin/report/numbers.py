"""Numbers as readers see them: few digits, true minus signs, powers of ten taken out."""

from __future__ import annotations

import math
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FEWEST, MOST = 2, 9
"""Decimals of a score; 9 tell any numbers of float32 apart whose power of ten is taken out."""
_READABLE = range(-1, 3)
"""Powers of ten that need not be taken out: 0.1 to 999."""


def exponent(scores: Iterable[float]) -> int:
    """Return the power of ten to take out so that the largest of the scores is easy to read."""
    largest = max((abs(score) for score in scores), default=0.0)
    if largest == 0:
        return 0
    power = math.floor(math.log10(largest))
    return 0 if power in _READABLE else power


def unit_text(power: int) -> str:
    """Return what is written above scores whose power of ten is taken out: ``scores × 10⁻⁵``."""
    return f"scores {TIMES} 10{str(power).translate(_SUPERSCRIPTS)}" if power else ""


def score_text(score: float, power: int, error: float | None = None, decimals: int = FEWEST) -> str:
    """Return a score with its sign, and its standard error if any, in units of ``10 ** power``."""
    spread = "" if error is None else f" {PLUS_MINUS} {error / 10**power:.{decimals}f}"
    return _typographic(f"{score / 10**power:+.{decimals}f}{spread}")


def decimals_for(scores: Iterable[float], power: int) -> int:
    """Return how many decimals tell scores that differ apart in units of ``10 ** power``."""
    different = set(scores)
    for decimals in range(FEWEST, MOST):
        if len({score_text(score, power, decimals=decimals) for score in different}) == len(
            different
        ):
            return decimals
    return MOST


def row_texts(values: Iterable[float]) -> list[str]:
    """Return the values of one line of a table, with as many decimals as that line needs."""
    values = list(values)
    decimals = _decimals([value for value in values if math.isfinite(value)])
    return [_table_text(value, decimals) for value in values]


def _table_text(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "n/a"
    return _typographic(f"{value:.{decimals}f}")


def _decimals(values: list[float]) -> int:
    if all(value == int(value) for value in values):
        return 0
    largest = max(map(abs, values), default=0)
    return 3 if largest < 1.5 else 2 if largest < 10 else 1


def _typographic(text: str) -> str:
    return text.replace("-", MINUS)
