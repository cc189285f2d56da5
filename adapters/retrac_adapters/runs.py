"""Training runs on disk, as diffusers' example scripts and ``save_pretrained`` leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
from diffusers import ModelMixin, SchedulerMixin

import retrac_plugin
from retrac_adapters.layout import Configs
from retrac_plugin.errors import InputError
from retrac_plugin.run import Run, read_checkpoints


def read_run(directory: Path, configs: Configs, loss: str) -> Run:
    """Read a run; its network is in evaluation mode and holds random weights, not a checkpoint's.

    Raises:
        InputError: If a configuration names no model or scheduler of diffusers.
        CheckpointError: If there is no checkpoint.
        TraceError: If the trace is damaged.
    """
    network = _build(configs.network, ModelMixin).eval()
    scheduler = _build(configs.scheduler, SchedulerMixin)
    checkpoints, trace = read_checkpoints(directory)
    return Run(retrac_plugin.wrap(network, scheduler, loss), checkpoints, trace)


def _build(path: Path, kind: type[Any]) -> Any:
    """Build what a configuration file describes; never runs code that came with the run."""
    try:
        config = json.loads(path.read_text())
        found = getattr(diffusers, config["_class_name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} describes no model of diffusers: {error!r}") from error
    if kind not in getattr(found, "__mro__", ()):
        raise InputError(f"{str(path)!r}: {config['_class_name']!r} is no {kind.__name__}")
    return found.from_config(config)
