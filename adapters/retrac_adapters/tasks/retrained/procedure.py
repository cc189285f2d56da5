"""All that decides what retraining shows."""

from __future__ import annotations

from dataclasses import dataclass

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.starting import Start, from_scratch
from retrac_plugin.draws import Draws

LOSS_DRAWS = retrac.Strided(50, noise_draws=1, seed=1)
"""Evenly spaced timesteps; the noise is fixed per query and timestep, for all models alike."""


@dataclass(frozen=True, eq=False)
class Procedure:
    """How a task's models are trained, and how their losses are taken.

    Attributes:
        recipe: How to train.
        start: What from.
        loss_draws: At which timesteps, with which noise queries' losses are taken.
    """

    recipe: Recipe
    start: Start
    loss_draws: Draws = LOSS_DRAWS


def whole(recipe: Recipe) -> Procedure:
    """Return how to train a whole network from random weights."""
    return Procedure(recipe, from_scratch(recipe))
