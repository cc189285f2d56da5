"""dattri's own methods on diffusion models, as attributors of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attributors import DiffusionTracIn
from retrac_plugin.checkpoints import Checkpoint
from retrac_plugin.diffusion import DiffusionModel
from retrac_plugin.draws import Draws
from retrac_plugin.errors import GradientError, InputError, RetracError
from retrac_plugin.examples import Examples
from retrac_plugin.frameworks.dattri import linear_layers, scoring
from retrac_plugin.frameworks.dattri.ekfac import ekfac
from retrac_plugin.frameworks.dattri.job import make_job
from retrac_plugin.scores import Scores


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


_TRAK = {"proj_dim": 2048, "proj_type": "normal", "relative_damping": 0.1}


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
    "dattri-if-cg": Recipe(
        partial(scoring.influence, attributor="IFAttributorCG"),
        {"max_iter": 10, "regularization": 0.5},
    ),
    "dattri-if-lissa": Recipe(
        partial(scoring.influence, attributor="IFAttributorLiSSA"),
        {
            "batch_size": 8,
            "num_repeat": 1,
            "recursion_depth": 500,
            "damping": 0.01,
            "scaling": 50.0,
        },
    ),
    "dattri-if-arnoldi": Recipe(
        scoring.arnoldi, {"proj_dim": 20, "max_iter": 50, "regularization": 0.5}
    ),
    "dattri-datainf": Recipe(scoring.datainf, {"relative_damping": 0.1}),
    "dattri-ekfac": Recipe(ekfac, {"relative_damping": 0.1}, last_only=True),
    "dattri-logra": _linear("LoGraAttributor"),
    "dattri-factgrass": _linear("FactGraSSAttributor"),
}
"""By registered name."""


class DattriMethod:
    """One of dattri's methods, as ``recipe`` says.

    Args:
        model: The diffusion model, from ``retrac_plugin.wrap``.
        checkpoints: At least one.
        train_draws: Timestep and noise of each training sample, see ``DiffusionTracIn``.
        query_draws: Timesteps and noise of each query; gradients are means over them.
        batch_size: Samples per network pass.
        device: Where to compute; default: where the network is.
        progress: Taken for the sake of a common signature; dattri always shows its own bars.
        settings: The method's own, see ``RECIPES``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name: ClassVar[str]
    recipe: ClassVar[Recipe]

    def __init__(
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        *,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> None:
        unknown = sorted(settings.keys() - self.recipe.settings.keys())
        if unknown:
            known = ", ".join(self.recipe.settings) or "none"
            raise InputError(
                f"{self.name}: unknown {', '.join(unknown)}, its settings are: {known}"
            )
        self.settings = {**self.recipe.settings, **settings}
        self.core = DiffusionTracIn(
            model,
            checkpoints,
            train_draws=train_draws,
            query_draws=query_draws,
            batch_size=batch_size,
            device=device,
            progress=progress,
        )

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the method's scores of every training sample for every query.

        Args:
            train: The training set.
            queries: The images to explain.

        Raises:
            RetracError: If the data cannot be used, or the scores are not finite.
        """
        job = make_job(self.core, train, queries, self.recipe.output, self.recipe.last_only)
        if self.recipe.single_precision:
            job.task.get_model().float()  # the task's own copy
        dtype = next(job.task.get_model().parameters()).dtype
        with _surroundings(dtype), torch.no_grad():
            values = self.recipe.score(job, **self.settings).detach().T.to(self.core.device)
        if not values.isfinite().all():
            raise GradientError(
                f"{self.name}: {int((~values.isfinite()).sum())} of {values.numel()} scores are "
                f"not finite with the settings {self.settings}. A larger damping, regularization "
                "or scaling is the usual remedy"
            )
        return Scores(values.contiguous(), None, {"method": self.name, **self.settings})


class RefusedMethod:
    """A method of dattri that has no meaning for diffusion models; constructing it says why."""

    name: ClassVar[str]
    reason: ClassVar[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise RetracError(f"{self.name} cannot score a diffusion model: {self.reason}")


REFUSALS = {
    "dattri-rps": (
        "representer points are features before a final linear layer, weighted by the loss's "
        "derivative at the logits of a class, and a denoiser has neither"
    ),
}


def method(name: str) -> type[DattriMethod | RefusedMethod]:
    """Return the class registered as ``name``."""
    if name in REFUSALS:
        return type(name, (RefusedMethod,), {"name": name, "reason": REFUSALS[name]})
    return type(name, (DattriMethod,), {"name": name, "recipe": RECIPES[name]})


@contextmanager
def _surroundings(dtype: torch.dtype) -> Iterator[None]:
    """Give dattri a seeded generator, and the model's floating type.

    Its LiSSA and Arnoldi draw from torch's global generator; its TracIn and Arnoldi make tensors of
    torch's default type, whatever the model's.
    """
    default = torch.get_default_dtype()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
