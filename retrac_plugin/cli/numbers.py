"""Scores as text: with the digits that tell them apart."""

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
