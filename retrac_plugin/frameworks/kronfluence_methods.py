"""kronfluence's methods, registered as attributors; imports neither kronfluence nor torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from retrac_plugin.hookspecs import AttributorEntry, hookimpl

NEEDS = ("kronfluence", "accelerate", "einops", "einconv", "opt_einsum")
"""kronfluence itself, and what it imports: it is installed without its dependencies."""

METHODS = {
    "kronfluence-ekfac": (
        "influence functions, the Fisher matrix by EK-FAC: linear layers and convolutions",
        "kronfluence: Grosse et al., 2023, arXiv 2308.03296",
    ),
    "kronfluence-ekfac-stratified": (
        "kronfluence-ekfac at 250 stratified draws of its own, whatever draws are asked for",
        "a reading of FMAS, Jinxu-Lin, 2026",
    ),
    "kronfluence-kfac": (
        "the same by K-FAC, its eigenvalues not corrected",
        "kronfluence, after Martens and Grosse, ICML 2015, arXiv 1503.05671",
    ),
}
"""Summary and source, by registered name."""


_USE = "comparing with kronfluence as it is"
_USES = {"kronfluence-ekfac-stratified": "comparing: influence functions at their most careful"}


@hookimpl
def retrac_register_attributors() -> Iterable[AttributorEntry]:
    """Methods of kronfluence, on diffusion models."""
    for name, (summary, source) in METHODS.items():
        load = partial(_load, name)
        yield AttributorEntry(name, summary, load, source, NEEDS, _USES.get(name, _USE))


def _load(name: str) -> Any:
    return import_module("retrac_plugin.frameworks.kronfluence.methods").method(name)
