"""dattri's own methods on diffusion models, as attributors of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.data.examples import Examples
from retrac_plugin.frameworks.dattri import linear_layers, scoring
from retrac_plugin.frameworks.dattri.ekfac import ekfac
from retrac_plugin.frameworks.dattri.job import make_job
from retrac_plugin.frameworks.dattri.progress import shown
from retrac_plugin.frameworks.registered import RefusedMethod, RegisteredMethod, surroundings


@dataclass(frozen=True)
class Recipe:
    """One method of dattri.

    Attributes:
        score: ``(job, **settings) -> scores [train, query]``.
        settings: What a user may set, with its default.
        output: The output function of both sides.
        last_only: The method knows one checkpoint; it gets the last.
        single_precision: The method computes in float32 only.
    """

    score: Callable[..., Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    output: str = "loss"
    last_only: bool = False
    single_precision: bool = False


_TRAK = {"proj_dim": 512, "proj_type": "normal", "relative_damping": 0.1}


def _linear(attributor: str) -> Recipe:
    return Recipe(
        partial(linear_layers.score, attributor=attributor),
        {"hessian": "eFIM", "damping": 0.1, "proj_dim": 256},
        last_only=True,
        single_precision=True,
    )


RECIPES: dict[str, Recipe] = {
    "dattri-tracin": Recipe(partial(scoring.tracin, normalized_grad=False, weighted=True)),
    "dattri-grad-dot": Recipe(partial(scoring.tracin, normalized_grad=False, weighted=False)),
    "dattri-grad-cos": Recipe(partial(scoring.tracin, normalized_grad=True, weighted=False)),
    "dattri-trak": Recipe(scoring.trak, _TRAK),
    "dattri-dtrak": Recipe(scoring.trak, _TRAK, output="mean-squared-l2-norm"),
    "dattri-if-cg": Recipe(scoring.conjugate_gradients, {"max_iter": 10, "regularization": 10.0}),
    "dattri-if-lissa": Recipe(
        scoring.lissa,
        {
            "batch_size": None,
            "num_repeat": 1,
            "recursion_depth": 50,
            "damping": 0.2,
            "scaling": 100.0,
        },
    ),
    "dattri-if-arnoldi": Recipe(
        scoring.arnoldi, {"proj_dim": 10, "max_iter": 25, "regularization": 0.5}
    ),
    "dattri-datainf": Recipe(scoring.datainf, {"relative_damping": 0.1}),
    "dattri-ekfac": Recipe(ekfac, {"relative_damping": 0.1}, last_only=True),
    "dattri-logra": _linear("LoGraAttributor"),
    "dattri-factgrass": _linear("FactGraSSAttributor"),
}
"""By registered name."""


class DattriMethod(RegisteredMethod):
    """One of dattri's methods, as ``recipe`` says. Its arguments are ``RegisteredMethod``'s."""

    recipe: ClassVar[Recipe]

    def score(self, train: Examples, queries: Examples) -> Tensor:
        """See ``RegisteredMethod.score``."""
        job = make_job(self.core, train, queries, self.recipe.output, self.recipe.last_only)
        if self.recipe.single_precision:
            job.task.get_model().float()  # the task's own copy
        dtype = next(job.task.get_model().parameters()).dtype
        with surroundings(dtype), shown(self.core.setting.progress), torch.no_grad():
            return self.recipe.score(job, **self.settings).T


REFUSALS = {
    "dattri-rps": (
        "representer points are features before a final linear layer, weighted by the loss's "
        "derivative at the logits of a class, and a denoiser has neither"
    ),
}


def method(name: str) -> type[DattriMethod | RefusedMethod]:
    """Return the class registered as ``name``."""
    if name in REFUSALS:
        return type(name, (RefusedMethod,), {"name": name, "refusal": REFUSALS[name]})
    recipe = RECIPES[name]
    return type(
        name, (DattriMethod,), {"name": name, "recipe": recipe, "defaults": recipe.settings}
    )
