"""Captum's own methods on diffusion models, as attributors of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from retrac_plugin.data.examples import Examples
from retrac_plugin.frameworks.captum import fast, scoring
from retrac_plugin.frameworks.captum.job import make_job
from retrac_plugin.frameworks.captum.similarity import similarity
from retrac_plugin.frameworks.registered import RegisteredMethod, surroundings


@dataclass(frozen=True)
class Recipe:
    """One method of Captum.

    Attributes:
        score: ``(job, **settings) -> scores [query, train]``.
        settings: What a user may set, with its default.
        last_only: The method knows one checkpoint; it gets the last.
        shared_draws: Training samples are taken at the queries' draws.
    """

    score: Callable[..., Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    last_only: bool = False
    shared_draws: bool = False


RECIPES: dict[str, Recipe] = {
    "captum-tracin": Recipe(scoring.tracin),
    "captum-tracin-fast": Recipe(fast.tracin_fast),
    "captum-tracin-rand-proj": Recipe(fast.random_projection, {"projection_dim": None, "seed": 0}),
    "captum-naive-if": Recipe(
        scoring.naive,
        {"layers": None, "projection_dim": 50, "hessian_reg": 1e-6, "hessian_inverse_tol": 1e-5},
        last_only=True,
    ),
    "captum-arnoldi-if": Recipe(
        scoring.arnoldi,
        {
            "projection_dim": 10,
            "arnoldi_dim": 25,
            "arnoldi_tol": 1e-1,
            "hessian_reg": 1e-3,
            "hessian_inverse_tol": 1e-4,
            "seed": 0,
        },
        last_only=True,
    ),
    "captum-similarity": Recipe(similarity, {"layers": None}, last_only=True, shared_draws=True),
}
"""By registered name; the defaults are Captum's, but for Arnoldi's dimensions, 50 and 200."""


class CaptumMethod(RegisteredMethod):
    """One of Captum's methods, as ``recipe`` says. Its arguments are ``RegisteredMethod``'s."""

    recipe: ClassVar[Recipe]

    def score(self, train: Examples, queries: Examples) -> Tensor:
        """See ``RegisteredMethod.score``."""
        core, recipe = self.core, self.recipe
        draws = core.query_draws if recipe.shared_draws else core.train_draws
        job = make_job(core, train, queries, recipe.last_only, draws)
        with surroundings(next(core.model.network.parameters()).dtype):
            return recipe.score(job, **self.settings)


def method(name: str) -> type[CaptumMethod]:
    """Return the class registered as ``name``."""
    recipe = RECIPES[name]
    return type(
        name, (CaptumMethod,), {"name": name, "recipe": recipe, "defaults": recipe.settings}
    )
