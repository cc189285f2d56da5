"""How Captum's attributors of all parameters are called, ``(job, **settings) -> [query, train]``.

Captum's own code computes; where it needs help to give what it defines, the docstring says so.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from captum.influence import TracInCP
from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
from captum.influence._core.influence_function import NaiveInfluenceFunction
from torch import Tensor

from retrac_plugin.errors import GradientError, InputError
from retrac_plugin.frameworks.captum import arguments
from retrac_plugin.frameworks.captum.denoiser import LossOfDraws, TheLossItself
from retrac_plugin.frameworks.captum.job import Job, labelled

LARGEST_HESSIAN = 5_000
"""Rows of the largest Hessian that is computed whole: one backward pass each, per batch."""


class _AnyLayout(TracInCP):  # type: ignore[misc]  # captum's types are not read
    """``TracInCP``, which multiplies gradients that attention left channels-last only so."""

    def _basic_computation_tracincp(self, *arguments: Any, **options: Any) -> tuple[Tensor, ...]:
        parts = super()._basic_computation_tracincp(*arguments, **options)
        return tuple(part.contiguous() for part in parts)


def tracin(job: Job) -> Tensor:
    """``TracInCP``: ``sum_k eta_k <g_i, g_q>``, gradients whole."""
    model = job.losses()
    attributor = _AnyLayout(
        model,
        labelled(job.train),
        range(len(job.checkpoints)),
        model.load,
        loss_fn=TheLossItself(),
    )
    return attributor.influence(labelled(job.queries), show_progress=job.show_progress)  # type: ignore[no-any-return]


def naive(job: Job, *, layers: list[str] | None, **settings: Any) -> Tensor:
    """``NaiveInfluenceFunction``: ``g_q^T V L^-1 V^T g_i``, the eigenvectors of the whole Hessian.

    Raises:
        InputError: If the layers have more parameters than a whole Hessian is computed for.
    """
    chosen = layers or [job.model.attributed_names()[-1].rpartition(".")[0]]
    model = job.losses(arguments.attributing(job.model, chosen))
    width = sum(value.numel() for value in model.values)
    if width > LARGEST_HESSIAN:
        raise InputError(
            f"captum-naive-if: the Hessian of {', '.join(chosen)} has {width:,} rows, and each "
            f"takes a backward pass for every batch; at most {LARGEST_HESSIAN:,} are computed. "
            "Name smaller layers, or use captum-arnoldi-if, which needs no whole Hessian"
        )
    return _influence_function(NaiveInfluenceFunction, model, job, settings)


def arnoldi(job: Job, **settings: Any) -> Tensor:
    """``ArnoldiInfluenceFunction``: the same with the eigenvectors that Arnoldi's iteration finds.

    Its iteration starts at random and is seeded.
    """
    return _influence_function(ArnoldiInfluenceFunction, job.losses(), job, settings)


def _influence_function(
    kind: Any, model: LossOfDraws, job: Job, settings: dict[str, Any]
) -> Tensor:
    """Return the scores ``[query, train]`` of one of the two.

    Raises:
        GradientError: If the Hessian curves upwards nowhere, as far as it was seen.
    """
    given = (model, labelled(job.train), 0, model.load)
    try:
        with warnings.catch_warnings():
            # Of Captum's own way to copy a tensor.
            warnings.filterwarnings("ignore", message="To copy construct from a tensor")
            attributor = kind(
                *given, loss_fn=TheLossItself(), show_progress=job.show_progress, **settings
            )
    except Exception as error:
        if type(error) is not Exception:  # Captum raises bare ones where no eigenvalue is left
            raise
        raise GradientError(f"{kind.__name__} with the settings {settings}: {error}") from error
    with torch.no_grad():
        return attributor.influence(labelled(job.queries))  # type: ignore[no-any-return]
