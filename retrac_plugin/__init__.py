"""Diffusion-TracIn and Diffusion-ReTrac for Captum, dattri and the command line.

Names are loaded on first use, so that plugins and ``retrac --help`` do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retrac_plugin.hookspecs import (
    AttributorEntry,
    CommandEntry,
    MetricEntry,
    RunRequest,
    TaskEntry,
    WrappedModel,
    hookimpl,
)

if TYPE_CHECKING:
    from retrac_plugin.attribution.attributors import (
        DiffusionReTrac,
        DiffusionTracIn,
        attribute_together,
    )
    from retrac_plugin.attribution.repeats import attribute_repeatedly
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.checkpoints.checkpoint import Checkpoint
    from retrac_plugin.data.examples import named
    from retrac_plugin.draws import Draws, Given, Recorded, Shared, Strided, Uniform
    from retrac_plugin.errors import RetracError
    from retrac_plugin.frameworks import register_with
    from retrac_plugin.model import distributions, losses, weightings
    from retrac_plugin.model.diffusion import DiffusionModel
    from retrac_plugin.model.schedules import NoiseLevels, NoiseSchedule, VariancePreserving
    from retrac_plugin.model.wrapping import wrap
    from retrac_plugin.recording.recorder import Recorder
    from retrac_plugin.runs.reading import read_run
    from retrac_plugin.runs.run import Run
    from retrac_plugin.trace.reading import read_trace
    from retrac_plugin.trace.trace import Trace

_HOMES = {
    "Checkpoint": "checkpoints.checkpoint",
    "DiffusionModel": "model.diffusion",
    "DiffusionReTrac": "attribution.attributors",
    "DiffusionTracIn": "attribution.attributors",
    "Draws": "draws",
    "Given": "draws",
    "NoiseLevels": "model.schedules",
    "NoiseSchedule": "model.schedules",
    "Recorded": "draws",
    "Recorder": "recording.recorder",
    "RetracError": "errors",
    "Run": "runs.run",
    "Scores": "attribution.scores",
    "Shared": "draws",
    "Strided": "draws",
    "Trace": "trace.trace",
    "Uniform": "draws",
    "VariancePreserving": "model.schedules",
    "attribute_repeatedly": "attribution.repeats",
    "attribute_together": "attribution.attributors",
    "named": "data.examples",
    "read_run": "runs.reading",
    "read_trace": "trace.reading",
    "register_with": "frameworks",
    "wrap": "model.wrapping",
}

_MODULES = {
    "distributions": "model.distributions",
    "losses": "model.losses",
    "weightings": "model.weightings",
}
"""Modules whose functions are given to ``wrap``; public under these names."""

__all__ = [
    "AttributorEntry",
    "Checkpoint",
    "CommandEntry",
    "DiffusionModel",
    "DiffusionReTrac",
    "DiffusionTracIn",
    "Draws",
    "Given",
    "MetricEntry",
    "NoiseLevels",
    "NoiseSchedule",
    "Recorded",
    "Recorder",
    "RetracError",
    "Run",
    "RunRequest",
    "Scores",
    "Shared",
    "Strided",
    "TaskEntry",
    "Trace",
    "Uniform",
    "VariancePreserving",
    "WrappedModel",
    "attribute_repeatedly",
    "attribute_together",
    "distributions",
    "hookimpl",
    "losses",
    "named",
    "read_run",
    "read_trace",
    "register_with",
    "weightings",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
