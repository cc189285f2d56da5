"""Measures one attributor: what it costs, and how far it is from its own definition."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from retrac_plugin import plugins
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.errors import RetracError
from retrac_plugin.methods.setting import Gradients
from tests.twins.plain_loops import Book
from tests.twins.small_run import BATCH_SIZE, SmallRun, exact, small_run
from tests.twins.table import NO_TWIN, TWINS


@dataclass(frozen=True)
class Measured:
    """What was found about one attributor.

    Attributes:
        name: Its registered name.
        runs: "yes", or why not.
        error: Largest difference from its twin, over the twin's largest score; None without one.
        why_not: Why there is no error.
        settings: What it was given where it was held against its twin.
        seconds: Of one call with its defaults, in float32, all parameters attributed.
        peak_mib: The process's whole memory at its largest during that call.
    """

    name: str
    runs: str
    error: float | None = None
    why_not: str = ""
    settings: str = ""
    seconds: float | None = None
    peak_mib: float | None = None


def measure(name: str, directory: Path) -> Measured:
    """Measure one attributor on the run in a folder."""
    run, kind = small_run(directory), plugins.get_attributor(name)
    try:
        start = time.perf_counter()
        with PeakMemory(torch.device("cpu")) as memory:
            _scores(kind, run)
        seconds = time.perf_counter() - start
    except RetracError as refusal:
        return Measured(name, str(refusal), why_not="does not run")
    peak = None if memory.bytes is None else memory.bytes / 2**20
    if name not in TWINS:
        reason = NO_TWIN.get(name, "no twin: another package's")
        return Measured(name, "yes", why_not=reason, seconds=seconds, peak_mib=peak)
    settings = ", ".join(f"{key}={_told(value)}" for key, value in TWINS[name].settings.items())
    return Measured(name, "yes", error_of(name, directory), "", settings, seconds, peak)


def error_of(name: str, directory: Path) -> float:
    """Return how far an attributor of ours is from its twin, of the largest score."""
    twin, run = TWINS[name], exact(small_run(directory))
    bars = DDPMScheduler.from_pretrained(directory / "scheduler").alphas_cumprod
    ours = _scores(plugins.get_attributor(name), run, twin.settings)
    expected = twin.scores(Book(run, bars))
    return float((ours - expected).abs().max() / expected.abs().max())


def _told(value: Any) -> Any:
    return value.projection if isinstance(value, Gradients) else value


def _scores(kind: Any, run: SmallRun, settings: Mapping[str, Any] | None = None) -> Tensor:
    attributor = kind(
        run.model,
        run.checkpoints,
        train_draws=run.train_draws,
        query_draws=run.query_draws,
        batch_size=BATCH_SIZE,
        progress=False,
        **(settings or {}),
    )
    values: Tensor = attributor.attribute(run.train, run.queries).values.cpu()
    return values
