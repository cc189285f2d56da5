"""Scores of methods on features, repeated with other draws.

Where all samples share their noise, every score of one attribution hangs on the same few draws, and
no spread within it says how much. Whole repeats do: each draws other noise, again the same for
everybody. The timesteps of a rule that spaces them evenly stay; what other timesteps would change
is not in the standard error.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from retrac_plugin.attribution.repeats import over_draws
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws.redrawing import with_other_draws
from retrac_plugin.methods.attributor import FeatureAttributor, attribute_together


def attribute_repeatedly(
    attributors: Sequence[FeatureAttributor], train: Examples, queries: Examples, repeats: int
) -> list[Scores]:
    """Return mean scores over draws, with their standard errors.

    Args:
        attributors: See ``attribute_together``.
        train: The training set.
        queries: The images to explain.
        repeats: How often to draw; with 1 there are no standard errors.

    Raises:
        InputError: If ``repeats`` is less than 1, or the attributors cannot share features.
    """

    def score(number: int) -> list[Scores]:
        return attribute_together([_drawing(each, number) for each in attributors], train, queries)

    return over_draws(score, repeats)


def _drawing(attributor: FeatureAttributor, number: int) -> FeatureAttributor:
    """Return the attributor with the draws of one round."""
    clone = copy.copy(attributor)
    draws = with_other_draws(attributor.setting.draws, number)
    clone.setting = replace(attributor.setting, draws=draws)
    return clone
