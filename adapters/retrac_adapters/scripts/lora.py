"""Low-rank adapters: a base network with an adapter in it, and checkpoints that hold it alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import safe_open
from torch import Tensor

from retrac_adapters.scripts.arguments import Arguments
from retrac_adapters.scripts.foreign import CONVERT, KOHYA
from retrac_adapters.scripts.layout import PARTS
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.errors import CheckpointError
from retrac_plugin.errors.guards import reading
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, NOT_RECORDED, Finding

ADAPTER = "default"
"""What the training scripts call the adapter."""

MAGNITUDE = ".lora_magnitude_vector"

METADATA = "lora_adapter_metadata"


def adapted_parts(file: Path) -> set[str]:
    """Return of which parts of a model an adapter file holds weights, by its own names."""
    return {name.split(".")[0] for name in read_weights(file)}


def find_part(file: Path) -> str:
    """Return which denoiser an adapter file is for, one of ``PARTS``.

    Raises:
        CheckpointError: If it is for none.
    """
    prefixes = adapted_parts(file)
    part = next((part for part in PARTS if part in prefixes), None)
    if part is None and any(prefix.startswith(KOHYA) for prefix in prefixes):
        raise CheckpointError(f"{str(file)!r} has the names of kohya's scripts. {CONVERT}")
    if part is None:
        adapted = ", ".join(sorted(prefixes))
        raise CheckpointError(f"{str(file)!r} adapts {adapted}: expected one of {', '.join(PARTS)}")
    return part


def adapt(network: Any, file: Path, part: str, arguments: Arguments) -> list[Finding]:
    """Put the adapter of a file into a network, whose own parameters are frozen by that.

    Raises:
        CheckpointError: If the file does not fit the network.
    """
    state, metadata = read_weights(file), _read_metadata(file)
    network.requires_grad_(False)
    try:
        network.load_lora_adapter(state, prefix=part, adapter_name=ADAPTER, metadata=metadata)
    except Exception as error:  # what a damaged file describes may raise anything
        raise CheckpointError(
            f"{str(file)!r} does not fit {type(network).__name__}: {error}"
        ) from error
    network.eval()
    findings = [_set_alpha(network, metadata is not None, arguments)]
    others = sorted({name.split(".")[0] for name in state} - {part})
    if others:
        text = f"{', '.join(others)} was adapted too; influence through it is left out"
        findings.append(Finding(NOT_MODELLED, "adapters", text))
    return findings


def read_as_adapter(part: str) -> Callable[[Path], dict[str, Tensor]]:
    """Return how to read an adapter file by the names that its parameters have in the network."""

    def read(file: Path) -> dict[str, Tensor]:
        own = {
            name.removeprefix(f"{part}."): value
            for name, value in read_weights(file).items()
            if name.startswith(f"{part}.")
        }
        if not any(".lora_A." in name for name in own):
            own = convert_unet_state_dict_to_peft(own)  # files of the older naming
        return {_in_network(name): value for name, value in own.items()}

    return read


def _in_network(name: str) -> str:
    if name.endswith(MAGNITUDE):  # of DoRA, which peft's state dict names without ".weight"
        return f"{name}.{ADAPTER}.weight"
    stem, _, last = name.rpartition(".")
    return f"{stem}.{ADAPTER}.{last}"


def _read_metadata(file: Path) -> dict[str, Any] | None:
    with reading(file, CheckpointError, "the metadata of"):
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA)
        return None if text is None else dict(json.loads(text))


def _set_alpha(network: Any, recorded: bool, arguments: Arguments) -> Finding:
    """Scale the adapter by ``alpha / rank`` as in training, where the arguments tell alpha."""
    config, alpha = network.peft_config[ADAPTER], arguments.get("lora_alpha")
    if alpha is not None and not recorded:
        for module in network.modules():
            if ADAPTER in getattr(module, "scaling", {}):
                module.scaling[ADAPTER] = float(alpha) / module.r[ADAPTER]
        return Finding(FOUND, "adapter", f"rank {config.r}, alpha {alpha} as argued")
    if recorded:
        return Finding(FOUND, "adapter", f"rank {config.r}, alpha {config.lora_alpha}")
    if "rank" in arguments.values:
        text = f"rank {config.r}, alpha equal to it, as the script has no option for another"
        return Finding(FOUND, "adapter", text)
    return Finding(
        NOT_RECORDED,
        "adapter",
        f"rank {config.r}; alpha is taken equal to it, as in most scripts. If it was not, the "
        "network is another one: pass arguments={'lora_alpha': ...}",
    )
