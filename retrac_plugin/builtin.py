"""What the core itself registers, through the same hooks as everyone; import-light."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from retrac_plugin.hookspecs import (
    AttributorEntry,
    CommandEntry,
    MetricEntry,
    RunRequest,
    WrappedModel,
    hookimpl,
)

if TYPE_CHECKING:
    from retrac_plugin.runs.run import Run

PAPER = "Xie et al., TMLR 2024, arXiv 2401.09031"


def _lazily(module: str, name: str) -> Any:
    return lambda: getattr(import_module(f"retrac_plugin.{module}"), name)


@hookimpl
def retrac_register_attributors() -> Iterable[AttributorEntry]:
    """Our two methods, and those to compare them with."""
    from retrac_plugin.methods import ENTRIES
    from retrac_plugin.methods.purposes import purpose

    yield AttributorEntry(
        "diffusion-tracin",
        "TracIn over timesteps: inner products of gradients, norms kept",
        _lazily("attribution.attributors", "DiffusionTracIn"),
        PAPER,
        good_for=purpose("diffusion-tracin"),
    )
    yield AttributorEntry(
        "diffusion-retrac",
        "TracIn over timesteps with every gradient normalised",
        _lazily("attribution.attributors", "DiffusionReTrac"),
        PAPER,
        good_for=purpose("diffusion-retrac"),
    )
    yield from ENTRIES


@hookimpl
def retrac_register_metrics() -> Iterable[MetricEntry]:
    """Our metrics, one protocol a file."""
    from retrac_plugin.metrics import ENTRIES

    return ENTRIES


@hookimpl
def retrac_register_commands() -> Iterable[CommandEntry]:
    """Our commands, one a file."""
    yield CommandEntry(
        "list",
        "List the installed methods, metrics, tasks and plugins.",
        _lazily("cli.listing", "list_installed"),
    )
    yield CommandEntry(
        "doctor",
        "Say what a training run recorded, what it did not, and what that means.",
        _lazily("cli.doctor", "doctor"),
    )
    yield CommandEntry(
        "record",
        "Run a training script, unchanged, and record what it trains on.",
        _lazily("cli.record", "record"),
    )
    yield CommandEntry(
        "attribute",
        "Say which training images influenced a picture most.",
        _lazily("cli.attribute", "attribute"),
    )
    yield CommandEntry(
        "featurize",
        "Compute the training set's features once, to answer questions in seconds.",
        _lazily("cli.featurize", "featurize"),
    )
    yield CommandEntry(
        "estimate",
        "Say what an attribution will take: time, memory and disk.",
        _lazily("cli.estimate", "estimate"),
    )
    yield CommandEntry(
        "explore",
        "Drop a picture into a page in the browser, and see which training images made it.",
        _lazily("cli.explore", "explore"),
    )
    yield CommandEntry(
        "self-influence",
        "Rank the training images by their influence on themselves.",
        _lazily("cli.self_influence", "self_influence"),
    )
    yield CommandEntry(
        "report",
        "Make a page from scores on disk, to look at in a browser.",
        _lazily("cli.report", "report"),
    )
    yield CommandEntry(
        "benchmark",
        "Compare methods by every metric, with the cost beside it.",
        _lazily("cli.benchmark", "benchmark"),
    )


@hookimpl
def retrac_read_run(request: RunRequest) -> Run | None:
    """Runs of the paper's own training code."""
    if not any(request.directory.glob("ckpt_*.pth")):
        return None
    from retrac_plugin.runs.official import find_files, read_official

    files = find_files(request.directory)
    return read_official(request, files) if files else None


@hookimpl(trylast=True)
def retrac_wrap_model(network: Any, scheduler: Any) -> WrappedModel | None:
    """Torch modules ``(noisy, timesteps, **conditions) -> prediction`` with a ``NoiseSchedule``."""
    if not hasattr(scheduler, "coefficients"):  # the one method of a NoiseSchedule
        return None
    return WrappedModel(
        lambda call, noisy, timesteps, conditions: call(noisy, timesteps, **conditions), scheduler
    )
