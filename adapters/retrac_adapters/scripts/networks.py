"""Building what a run's configuration files describe; never runs code that came with the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
from diffusers import ModelMixin, SchedulerMixin

from retrac_adapters.scripts.arguments import Arguments
from retrac_adapters.scripts.config_keys import unread_keys
from retrac_adapters.scripts.config_sizes import check_sizes
from retrac_adapters.scripts.layout import Layout, find_scheduler
from retrac_adapters.scripts.lora import adapt
from retrac_plugin.checkpoints.weight_files import find_weights, read_weights
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading
from retrac_plugin.runs.findings import FOUND, Finding


def build_network(
    layout: Layout, base: Path | None, arguments: Arguments
) -> tuple[Any, list[Finding]]:
    """Return a run's denoiser in evaluation mode, and what was found of it.

    It holds random weights where all of them were trained; the base's, with an adapter beside them,
    where an adapter was.

    Raises:
        InputError: If a configuration describes no denoiser, or a base is needed and not known.
        CheckpointError: If the base's weights or the adapter do not fit.
    """
    if layout.lora is not None:
        return _build_adapted(layout, layout.lora, base, arguments)
    if layout.network is None:
        raise InputError(f"no configuration of a denoiser in {str(layout.directory)!r}")
    network = build(layout.network, ModelMixin).eval()
    return network, [_describe(network, layout.network), *unread_keys(layout.network)]


def build_scheduler(layout: Layout, base: Path | None) -> tuple[Any, list[Finding]]:
    """Return the scheduler that a run saved, or else its base's, and what was found of it.

    Raises:
        InputError: If neither has one.
    """
    found = layout.scheduler
    if found is None and base is not None:
        found = find_scheduler(base)
    if found is None:
        raise InputError(
            f"no scheduler/scheduler_config.json in {str(layout.directory)!r}"
            + ("" if base is None else f" nor in {str(base)!r}")
            + ": pass base=, the folder of the model that the run started from, or model="
        )
    return build(found, SchedulerMixin), unread_keys(found)


def _build_adapted(
    layout: Layout, lora: Path, base: Path | None, arguments: Arguments
) -> tuple[Any, list[Finding]]:
    if base is None:
        named = arguments.get("pretrained_model_name_or_path")
        raise InputError(
            f"{str(layout.directory)!r} holds low-rank adapters of another model"
            + (f", {named!r}, which is neither a folder nor in the cache" if named else "")
            + ": pass base=, that model's folder or its name in the Hugging Face cache"
        )
    configuration = base / layout.part / "config.json"
    network = build(configuration, ModelMixin)
    try:
        weights = find_weights(base / layout.part, arguments.get("variant"))
        network.load_state_dict(read_weights(weights))
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {str(base)!r} do not fit: {error}") from error
    found = [_describe(network, base), *unread_keys(configuration)]
    return network, [*found, *adapt(network, lora, layout.part, arguments)]


def _describe(network: Any, path: Path) -> Finding:
    count = sum(parameter.numel() for parameter in network.parameters())
    text = f"{type(network).__name__} of {count:,} parameters, from {str(path)!r}"
    return Finding(FOUND, "denoiser", text)


def build(path: Path, kind: type[Any]) -> Any:
    """Return what a configuration file of diffusers describes, with random weights.

    Args:
        path: The file.
        kind: What it must be: ``ModelMixin`` or ``SchedulerMixin``.

    Raises:
        InputError: If it describes nothing of that kind.
    """
    with reading(path, InputError, "the model of diffusers in", TEXT_BYTES):
        try:
            config = json.loads(path.read_text())
            found = getattr(diffusers, config["_class_name"])
        except Exception as error:  # a damaged file may hold anything
            raise InputError(f"{str(path)!r} describes no model of diffusers: {error!r}") from error
        check_sizes(config)
        if kind not in getattr(found, "__mro__", ()):
            raise InputError(f"{str(path)!r}: {config['_class_name']!r} is no {kind.__name__}")
        return found.from_config(config)
