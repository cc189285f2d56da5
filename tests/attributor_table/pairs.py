"""Our classes beside the frameworks' own, on the same run with the same draws."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.frameworks import captum, dattri
from tests.twins.small_run import BATCH_SIZE, SmallRun

Scorer = Callable[[], Tensor]
"""Returns scores ``[query, train]``."""


@dataclass(frozen=True)
class Pair:
    """Two that should score alike.

    Attributes:
        ours: The name of one.
        theirs: The name of the other.
        difference: The largest in float64, over the largest score.
        seconds: CPU time of each in float32, the median of interleaved calls.
    """

    ours: str
    theirs: str
    difference: float
    seconds: tuple[float, float]


def compare(run: SmallRun, repeats: int) -> list[Pair]:
    """Return the comparison of our TracIn and ReTrac with what they should equal."""
    double = replace(
        run,
        model=replace(run.model, network=copy.deepcopy(run.model.network).double()),
        train=run.train.double(),
        queries=run.queries.double(),
    )
    names = (
        ("DiffusionTracInCP", "Captum's TracInCP"),
        ("DiffusionTracInAttributor", "dattri's TracInAttributor"),
        ("DiffusionReTracCP", "retrac_plugin.DiffusionReTrac"),
        ("DiffusionReTracAttributor", "retrac_plugin.DiffusionReTrac"),
    )
    exact, fast = _scorers(double), _scorers(run)
    return [
        Pair(
            ours,
            theirs,
            _difference(exact[ours](), exact[theirs]()),
            _cpu_seconds(fast[ours], fast[theirs], repeats),
        )
        for ours, theirs in names
    ]


def _scorers(run: SmallRun) -> dict[str, Scorer]:
    """Return how each is called by its users: over loaders of one batch size."""
    train, queries = (
        DataLoader(cast(Dataset[Tensor], data), BATCH_SIZE) for data in (run.train, run.queries)
    )
    draws: dict[str, Any] = {"train_draws": run.train_draws, "query_draws": run.query_draws}

    def of_captum(kind: Any) -> Scorer:
        attributor = kind(run.model, train, run.checkpoints, **draws)
        return lambda: attributor.influence(queries)

    def of_dattri(kind: Any) -> Scorer:
        task = dattri.DiffusionAttributionTask(run.model, run.checkpoints)
        attributor = kind(task, batch_size=BATCH_SIZE, **draws)
        return lambda: attributor.attribute(train, queries).T

    def of_core(kind: Any) -> Scorer:
        attributor = kind(
            run.model, run.checkpoints, batch_size=BATCH_SIZE, progress=False, **draws
        )
        return lambda: attributor.attribute(train, queries).values

    return {
        "DiffusionTracInCP": of_captum(captum.DiffusionTracInCP),
        "DiffusionReTracCP": of_captum(captum.DiffusionReTracCP),
        "DiffusionTracInAttributor": of_dattri(dattri.DiffusionTracInAttributor),
        "DiffusionReTracAttributor": of_dattri(dattri.DiffusionReTracAttributor),
        "Captum's TracInCP": of_core(plugins.get_attributor("captum-tracin")),
        "dattri's TracInAttributor": of_core(plugins.get_attributor("dattri-tracin")),
        "retrac_plugin.DiffusionReTrac": of_core(retrac.DiffusionReTrac),
    }


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _cpu_seconds(ours: Scorer, theirs: Scorer, repeats: int) -> tuple[float, float]:
    """Return the medians; whatever a first call costs, the exact ones have paid."""
    spent: tuple[list[float], list[float]] = ([], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(repeats):
            for call, times in zip((ours, theirs), spent, strict=True):
                start = time.process_time()
                call()
                times.append(time.process_time() - start)
    medians = [statistics.median(times) for times in spent]
    return medians[0], medians[1]
