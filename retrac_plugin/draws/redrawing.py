"""The same rule of drawing, with other numbers."""

from __future__ import annotations

from dataclasses import is_dataclass, replace

from retrac_plugin.draws.draw import Draws
from retrac_plugin.draws.recorded import Recorded

_APART = 2**32
"""Between the seeds of repeated draws, so that they are not those of the next seed by hand."""


def with_other_draws(draws: Draws, number: int) -> Draws:
    """Return the same rule with other numbers drawn; ``draws`` itself where nothing is drawn.

    Args:
        draws: The rule.
        number: Which numbers; 0 for those of ``draws``.
    """
    if not number:
        return draws
    if isinstance(draws, Recorded) and draws.trace.noise_is_new:
        trace = replace(draws.trace, seed=draws.trace.seed + number * _APART)
        return replace(draws, trace=trace)
    if not is_dataclass(draws) or not hasattr(draws, "seed"):
        return draws
    return replace(draws, seed=draws.seed + number * _APART)
