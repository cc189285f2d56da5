"""Numbers as text: scores with the digits that tell them apart, sizes in their units."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 9
"""Significant digits; 9 tell any two numbers of float32 apart."""


def signed(values: Sequence[float], fewest: int = 3) -> list[str]:
    """Return numbers with their signs, all with as many digits as tell the different ones apart.

    Args:
        values: Numbers.
        fewest: Significant digits at least.
    """
    different = len(set(values))
    for digits in range(fewest, MOST + 1):
        texts = [f"{value:+.{digits}g}" for value in values]
        if len(set(texts)) == different:
            break
    return texts


def size(count: int) -> str:
    """Return a number of bytes in the largest unit that it fills."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return f"{count} B"
