"""The frameworks whose own methods are registered as attributors, and what tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

import retrac_plugin as retrac
from retrac_plugin.frameworks import captum_methods, dattri_methods, kronfluence_methods

TRAIN_DRAWS = retrac.Uniform(1, seed=1)
QUERY_DRAWS = retrac.Strided(3, noise_draws=2, seed=2)
DRAWS = {"train_draws": TRAIN_DRAWS, "query_draws": QUERY_DRAWS, "progress": False}
CLOSE = {"rtol": 1e-8, "atol": 1e-12}


class RowSampler:
    """A user's own sampler: the least that a loader takes."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def dattri_sampler(rows: list[int]) -> Any:
    """dattri's own; imported late, behind ours, which silences what dattri's import warns of."""
    return import_module("dattri.benchmark.utils").SubsetSampler(rows)


@dataclass(frozen=True)
class Framework:
    """One framework.

    Attributes:
        entries: The module whose entries register the methods.
        needs: What each entry says that it needs.
        attributed: A choice of parameters that each of the methods has some of.
        made: What the module that makes the methods calls its table of them.
        quick: Settings by method, with which it works on the small denoiser and costs little.
        same: Tolerances of scores at another batch size.
        same_rows: Tolerances of scores of a subset.
        sampler: A sampler that yields rows in their order.
        refused: Methods that say why they cannot score a diffusion model.
        besides: Methods that are made, and are not in that table.
    """

    entries: ModuleType
    needs: tuple[str, ...]
    attributed: tuple[str, ...]
    made: str = "RECIPES"
    quick: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    same: Mapping[str, float] = field(default_factory=CLOSE.copy)
    same_rows: Mapping[str, float] = field(default_factory=lambda: {"rtol": 1e-8, "atol": 1e-10})
    sampler: Callable[[list[int]], Any] = RowSampler
    refused: frozenset[str] = frozenset()
    besides: frozenset[str] = frozenset()


FRAMEWORKS = {
    "captum": Framework(
        captum_methods,
        needs=("captum",),
        attributed=("leave.*",),
        quick={
            "captum-arnoldi-if": {"arnoldi_dim": 6, "projection_dim": 3, "arnoldi_tol": 1e-6},
            "captum-similarity": {"layers": ["enter", "leave"]},
        },
    ),
    "dattri": Framework(
        dattri_methods,
        needs=("dattri",),
        attributed=("time.*", "leave.bias"),
        quick={
            "dattri-if-cg": {"max_iter": 3, "regularization": 2.0},
            "dattri-if-lissa": {"recursion_depth": 3},
            "dattri-if-arnoldi": {"max_iter": 6},
            "dattri-trak": {"proj_dim": 64},
            "dattri-dtrak": {"proj_dim": 64},
            "dattri-logra": {"proj_dim": 16},
            "dattri-factgrass": {"proj_dim": 16},
        },
        same={"rtol": 1e-10, "atol": 1e-14},
        same_rows={"rtol": 1e-6, "atol": 1e-8},
        sampler=dattri_sampler,
        refused=frozenset({"dattri-rps"}),
    ),
    "kronfluence": Framework(
        kronfluence_methods,
        needs=("kronfluence", "accelerate", "einops", "einconv", "opt_einsum"),
        attributed=("leave.*",),
        quick={"kronfluence-ekfac-stratified": {"strata": 3}},
        made="STRATEGIES",
        besides=frozenset({"kronfluence-ekfac-stratified"}),
        sampler=list,
    ),
}

FRAMEWORK_OF = {
    name: framework
    for framework, at in FRAMEWORKS.items()
    for name in at.entries.METHODS
    if name not in at.refused
}
"""The framework of each registered method that computes scores."""


def recipes(framework: str) -> ModuleType:
    """Return the module that makes a framework's methods; the test is skipped without it."""
    pytest.importorskip(framework, reason=f"{framework} is not installed, see make test")
    return import_module(f"retrac_plugin.frameworks.{framework}.methods")


def quick_settings(name: str) -> dict[str, Any]:
    """Return settings with which a method costs little."""
    return dict(FRAMEWORKS[FRAMEWORK_OF[name]].quick.get(name, {}))


def scores(name: str, case: Any, **options: Any) -> Any:
    """Return a method's scores ``[query, train]`` of a case, at the draws above."""
    method = recipes(FRAMEWORK_OF[name]).method(name)
    attributor = method(case.model, case.checkpoints, **{**DRAWS, **options})
    return attributor.attribute(case.train, case.queries).values


def quick(name: str, case: Any, **options: Any) -> Any:
    """Return the same for little, where the claim does not depend on the settings."""
    return scores(name, case, **{**quick_settings(name), **options})
