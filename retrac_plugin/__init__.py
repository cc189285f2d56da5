"""Diffusion-TracIn and Diffusion-ReTrac for Captum, dattri and the command line.

Names are loaded on first use, so that plugins and ``retrac --help`` do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retrac_plugin.hookspecs import AttributorEntry, MetricEntry, WrappedModel, hookimpl

if TYPE_CHECKING:
    from retrac_plugin.attributors import DiffusionReTrac, DiffusionTracIn, attribute_together
    from retrac_plugin.checkpoints import Checkpoint
    from retrac_plugin.diffusion import DiffusionModel
    from retrac_plugin.draws import Draws, Given, Recorded, Strided, Uniform
    from retrac_plugin.errors import RetracError
    from retrac_plugin.examples import named
    from retrac_plugin.frameworks import register_with
    from retrac_plugin.reading import read_run
    from retrac_plugin.recorder import Recorder
    from retrac_plugin.repeats import attribute_repeatedly
    from retrac_plugin.run import Run
    from retrac_plugin.schedules import NoiseLevels, NoiseSchedule, VariancePreserving
    from retrac_plugin.scores import Scores
    from retrac_plugin.trace import Trace, read_trace
    from retrac_plugin.wrapping import wrap

_HOMES = {
    "Checkpoint": "checkpoints",
    "DiffusionModel": "diffusion",
    "DiffusionReTrac": "attributors",
    "DiffusionTracIn": "attributors",
    "Draws": "draws",
    "Given": "draws",
    "NoiseLevels": "schedules",
    "NoiseSchedule": "schedules",
    "Recorded": "draws",
    "Recorder": "recorder",
    "RetracError": "errors",
    "Run": "run",
    "Scores": "scores",
    "Strided": "draws",
    "Trace": "trace",
    "Uniform": "draws",
    "VariancePreserving": "schedules",
    "attribute_repeatedly": "repeats",
    "attribute_together": "attributors",
    "named": "examples",
    "read_run": "reading",
    "read_trace": "trace",
    "register_with": "frameworks",
    "wrap": "wrapping",
}

__all__ = [
    "AttributorEntry",
    "Checkpoint",
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
    "Scores",
    "Strided",
    "Trace",
    "Uniform",
    "VariancePreserving",
    "WrappedModel",
    "attribute_repeatedly",
    "attribute_together",
    "hookimpl",
    "named",
    "read_run",
    "read_trace",
    "register_with",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
