"""dattri's own methods, registered as attributors; imports neither dattri nor torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from retrac_plugin.hookspecs import AttributorEntry, hookimpl

SOURCE = "dattri: Deng et al., NeurIPS 2024 Datasets and Benchmarks"

METHODS = {
    "dattri-tracin": (
        "TracIn: inner products of gradients, weighted by step sizes",
        "Pruthi et al., NeurIPS 2020, arXiv 2002.08484",
    ),
    "dattri-grad-dot": ("inner products of gradients, checkpoints weighted alike", SOURCE),
    "dattri-grad-cos": ("cosines of gradients, normalised after the mean over draws", SOURCE),
    "dattri-trak": (
        "TRAK of the loss: projected gradients, their covariance inverted",
        "Park et al., ICML 2023, arXiv 2303.14186",
    ),
    "dattri-dtrak": (
        "D-TRAK: TRAK of the mean squared prediction",
        "Zheng et al., ICLR 2024, arXiv 2311.00500",
    ),
    "dattri-if-cg": (
        "influence functions, the Hessian inverted by conjugate gradients",
        "Koh and Liang, ICML 2017, arXiv 1703.04730",
    ),
    "dattri-if-lissa": (
        "influence functions, the Hessian inverted by LiSSA's recursion",
        "Agarwal et al., JMLR 2017, arXiv 1602.03943",
    ),
    "dattri-if-arnoldi": (
        "influence functions in the span of the Hessian's top eigenvectors",
        "Schioppa et al., AAAI 2022, arXiv 2112.03052",
    ),
    "dattri-datainf": (
        "DataInf: influence functions in closed form",
        "Kwon et al., ICLR 2024, arXiv 2310.00902",
    ),
    "dattri-ekfac": (
        "EK-FAC influence functions of linear layers, with two faults of dattri fixed",
        "Grosse et al., 2023, arXiv 2308.03296",
    ),
    "dattri-logra": (
        "LoGra: linear layers' gradients, projected factor by factor",
        "Choe et al., 2024, arXiv 2405.13954",
    ),
    "dattri-factgrass": (
        "FactGraSS: linear layers' gradients, masked, then projected",
        "Hu et al., NeurIPS 2025, arXiv 2505.18976",
    ),
    "dattri-rps": (
        "representer points; refuses: a denoiser has no final layer of classes",
        "Yeh et al., NeurIPS 2018, arXiv 1811.09720",
    ),
}
"""Summary and source, by registered name."""


_USE = "comparing with dattri as it is"


@hookimpl
def retrac_register_attributors() -> Iterable[AttributorEntry]:
    """Methods of dattri, on diffusion models."""
    for name, (summary, source) in METHODS.items():
        load = partial(_load, name)
        yield AttributorEntry(name, summary, load, source, ("dattri",), _USE)


def _load(name: str) -> Any:
    return import_module("retrac_plugin.frameworks.dattri.methods").method(name)
