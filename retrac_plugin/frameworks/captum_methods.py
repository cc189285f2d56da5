"""Captum's own methods, registered as attributors; imports neither captum nor torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from retrac_plugin.hookspecs import AttributorEntry, hookimpl

TRACIN = "Captum, after Pruthi et al., NeurIPS 2020, arXiv 2002.08484"
ARNOLDI = "Captum, after Schioppa et al., AAAI 2022, arXiv 2112.03052"

METHODS = {
    "captum-tracin": ("TracInCP: inner products of gradients, weighted by step sizes", TRACIN),
    "captum-tracin-fast": (
        "TracInCPFast: the last layer's weight alone, a convolution taken place by place",
        TRACIN,
    ),
    "captum-tracin-rand-proj": (
        "TracInCPFastRandProj: the same through embeddings, projected on request",
        TRACIN,
    ),
    "captum-naive-if": (
        "NaiveInfluenceFunction: influence functions, the whole Hessian of one layer or a few",
        "Captum, after Koh and Liang, ICML 2017, arXiv 1703.04730",
    ),
    "captum-arnoldi-if": (
        "ArnoldiInfluenceFunction: influence functions in the Hessian's top eigenvectors",
        ARNOLDI,
    ),
    "captum-similarity": (
        "SimilarityInfluence: cosines of a layer's activations at shared timesteps",
        "Captum",
    ),
}
"""Summary and source, by registered name."""


_USE = "comparing with Captum as it is"


@hookimpl
def retrac_register_attributors() -> Iterable[AttributorEntry]:
    """Methods of Captum, on diffusion models."""
    for name, (summary, source) in METHODS.items():
        load = partial(_load, name)
        yield AttributorEntry(name, summary, load, source, ("captum",), _USE)


def _load(name: str) -> Any:
    return import_module("retrac_plugin.frameworks.captum.methods").method(name)
