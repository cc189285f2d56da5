"""The quality of scores, one protocol a file. Importing this imports neither torch nor scipy.

Every metric is a function ``(values [query, train], evidence) -> float``. Where there is a base
rate (class agreement, minority share, tracing), scores that are all equal get it:
``metric(torch.zeros_like(values), evidence)``. Of specificity, generally influential samples and
hubness they get the worst value, of the comparisons with retraining or an untrained model 0, and of
norm bias none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from retrac_plugin.hookspecs import MetricEntry
from retrac_plugin.metrics.cautions import caution
from retrac_plugin.metrics.evidence import Evidence

__all__ = ["ENTRIES", "Evidence"]

_XIE = "Xie et al., TMLR 2024, arXiv 2401.09031"
_READOUT = "a control of Park et al., ICML 2023"


def _lazily(module: str, function: str, **settings: Any) -> Callable[[], Any]:
    """Return a ``load`` that imports the metric and fixes its settings."""

    def load() -> Any:
        metric = getattr(import_module(f"{__name__}.{module}"), function)
        return functools.partial(metric, **settings)

    return load


def _on_top_lists(k: int) -> tuple[MetricEntry, ...]:
    """Return the metrics that compare the queries' top ``k`` with one another."""
    return (
        MetricEntry(
            f"specificity@{k}",
            f"share of different images in all queries' top {k} together; 1: none is listed twice",
            _lazily("specificity", "specificity", k=k),
            source=_XIE,
        ),
        MetricEntry(
            f"generally-influential@{k}",
            f"number of training images in the top {k} of at least 2 queries",
            _lazily("generally_influential", "shared_by_two", k=k),
            higher_is_better=False,
            source=_XIE,
        ),
        MetricEntry(
            f"generally-influential-half@{k}",
            f"number of training images in the top {k} of at least half of the queries",
            _lazily("generally_influential", "shared_by_half", k=k),
            higher_is_better=False,
            source=_XIE,
        ),
        MetricEntry(
            f"hubness@{k}",
            f"skewness of how often each training image is in a top {k}; high: a few are in most",
            _lazily("hubness", "hubness", k=k),
            higher_is_better=False,
            source="Radovanovic et al., JMLR 2010",
        ),
    )


def _tracing(name: str, summary: str, load: Callable[[], Any]) -> MetricEntry:
    return MetricEntry(name, f"for queries from the training set: {summary}", load, source=_XIE)


def _norm_bias(name: str, what: str, function: str) -> MetricEntry:
    summary = f"rank correlation of a training image's gradient norm with {what}, mean over queries"
    load = _lazily("norm_bias", function)
    return MetricEntry(name, summary, load, None, source=_XIE, needs=("scipy",))


_ENTRIES: tuple[MetricEntry, ...] = (
    *_on_top_lists(10),
    *_on_top_lists(50),
    *_on_top_lists(100),
    MetricEntry(
        "class-agreement@10",
        "share of the top 10 that is of the query's class",
        _lazily("class_agreement", "class_agreement", k=10),
        source="Hanawa et al., ICLR 2021",
    ),
    MetricEntry(
        "minority-share@10",
        "share of a planted minority in the top 10 of the other queries",
        _lazily("minority_share", "minority_share", k=10),
        higher_is_better=False,
        source=_XIE,
    ),
    MetricEntry(
        "minority-recall@10",
        "share of a planted minority that is in the top 10 of queries of it",
        _lazily("minority_recall", "minority_recall", k=10),
        source="this package",
    ),
    MetricEntry(
        "minority-auprc",
        "area under the precision-recall curve of a planted minority, for queries of it",
        _lazily("minority_auprc", "minority_auprc"),
        source="Hammoudeh and Lowd, CCS 2022; quanda's mixed data sets",
        needs=("sklearn",),
    ),
    _norm_bias("norm-bias", "its influence", "norm_bias"),
    _norm_bias("norm-bias-size", "the size of its influence, sign aside", "norm_bias_of_size"),
    _tracing("tracing-hit@1", "share that finds itself at rank 1", _lazily("tracing", "hit", k=1)),
    _tracing(
        "tracing-hit@10", "share that finds itself in the top 10", _lazily("tracing", "hit", k=10)
    ),
    _tracing(
        "tracing-mrr",
        "mean of 1 / the rank at which it finds itself",
        _lazily("tracing", "mean_reciprocal_rank"),
    ),
    MetricEntry(
        "outliers-auroc",
        "area under the ROC curve of a planted minority, ranked by self-influence",
        _lazily("outliers", "auroc_of"),
        source=_XIE,
        needs=("sklearn",),
    ),
    MetricEntry(
        "outliers-auprc",
        "area under the precision-recall curve of a planted minority, ranked by self-influence",
        _lazily("outliers", "auprc_of"),
        source=_XIE,
        needs=("sklearn",),
    ),
    MetricEntry(
        "lds",
        "rank correlation of summed scores with retraining on random subsets, mean over queries",
        _lazily("lds", "lds"),
        source="Park et al., ICML 2023",
        needs=("scipy",),
    ),
    MetricEntry(
        "lds-squared",
        "LDS of squared scores: how much of it is due to the readout",
        _lazily("readouts", "lds_squared"),
        source=_READOUT,
        needs=("scipy",),
    ),
    MetricEntry(
        "lds-largest-5%",
        "LDS of each query's largest 5% by size, all others set to 0",
        _lazily("readouts", "lds_of_largest", share=0.05),
        source=_READOUT,
        needs=("scipy",),
    ),
    MetricEntry(
        "leave-one-out",
        "rank correlation of scores with retraining without one image, mean over queries",
        _lazily("leave_one_out", "leave_one_out"),
        source="Koh and Liang, ICML 2017",
        needs=("scipy",),
    ),
    MetricEntry(
        "leave-one-out-continued",
        "the same with continuing the recorded training without the image from a late checkpoint",
        _lazily("leave_one_out", "continued"),
        source="this package, after Koh and Liang, ICML 2017",
        needs=("scipy",),
    ),
    MetricEntry(
        "model-randomisation",
        "rank correlation with the same method's scores of an untrained model, mean over queries",
        _lazily("randomisation", "model_randomisation"),
        higher_is_better=False,
        source="Hanawa et al., ICLR 2021, after Adebayo et al., NeurIPS 2018",
        needs=("scipy",),
    ),
)

ENTRIES = tuple(replace(entry, caution=caution(entry.name)) for entry in _ENTRIES)
"""What the core registers."""
