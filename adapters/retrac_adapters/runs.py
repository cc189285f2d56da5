"""Training runs on disk, as diffusers' example scripts and ``save_pretrained`` leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
from diffusers import ModelMixin, SchedulerMixin

import retrac_plugin
from retrac_plugin.errors import InputError
from retrac_plugin.run import Run, read_checkpoints


class Configs(NamedTuple):
    """The two configuration files of a run."""

    network: Path
    scheduler: Path


def find_configs(directory: Path) -> Configs | None:
    """Return where a run's configurations lie, or None if it is not a run of diffusers.

    The denoiser's is looked for in the run, its ``unet`` folder, and its checkpoints; the
    scheduler's in ``scheduler`` folders.
    """
    homes = (directory, *sorted(directory.glob("checkpoint-*")))
    networks = (folder / "config.json" for home in homes for folder in (home / "unet", home))
    schedulers = (home / "scheduler" / "scheduler_config.json" for home in homes)
    network = next((path for path in networks if path.is_file()), None)
    scheduler = next((path for path in schedulers if path.is_file()), None)
    return None if network is None or scheduler is None else Configs(network, scheduler)


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
