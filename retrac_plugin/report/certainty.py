"""How sure scores are: how many stand out of the noise of what was drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from retrac_plugin.attribution.scores import Scores

ERRORS = 3
"""Standard errors from 0 beyond which a score is said to stand out."""


@dataclass(frozen=True)
class Certainty:
    """How many of a query's scores stand out.

    Attributes:
        beyond: Scores that lie more than ``ERRORS`` standard errors from 0.
        by_chance: How many would if all were noise, normal and of mean 0, or None where the number
            of draws is not known. Few draws make standard errors that are too small now and then,
            so with 4 draws 6% of pure noise lie beyond 3 of them.
        of: Scores in all.
        draws: How often was drawn, or None.
    """

    beyond: int
    by_chance: float | None
    of: int
    draws: int | None


def certainty(scores: Scores, query: int) -> Certainty | None:
    """Return how many of a query's scores stand out; None where nothing was drawn repeatedly."""
    if scores.standard_errors is None:
        return None
    beyond = _beyond(scores.values[query], scores.standard_errors[query])
    draws, of = scores.about.get("repeats"), scores.values.shape[1]
    if not isinstance(draws, int) or draws < 2:
        return Certainty(beyond, None, of, None)
    return Certainty(beyond, of * exceeding(ERRORS, draws - 1), of, draws)


def _beyond(values: Tensor, errors: Tensor) -> int:
    return int((values.abs() > ERRORS * errors).sum())


def exceeding(bound: float, degrees: int) -> float:
    """Return the probability that Student's t lies further than ``bound`` from 0.

    In closed form, after Abramowitz and Stegun 26.7.3 and 26.7.4: a finite sum of powers of
    ``cos(atan(bound / sqrt(degrees)))``.

    Args:
        bound: A positive number.
        degrees: Degrees of freedom, 1 or more.
    """
    angle = math.atan(bound / math.sqrt(degrees))
    odd = degrees % 2
    term = total = math.cos(angle) if odd else 1.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if not odd:
        return 1 - math.sin(angle) * total
    inside = angle if degrees == 1 else angle + math.sin(angle) * total
    return 1 - 2 / math.pi * inside
