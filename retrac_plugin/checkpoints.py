"""Checkpoints: parameters saved in training and the step size they stand for, read safely."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from retrac_plugin.errors import CheckpointError, InputError

WEIGHT_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
)
"""Where a folder's weights are looked for, in this order; then the same in its ``unet`` folder."""

_NAMED = 3
"""How many tensors an error names."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Parameters saved in training, and the step size of the training they represent.

    Attributes:
        parameters: The network's state dict, or where it lies: a ``.safetensors`` file, a ``.pt``
            or ``.bin`` file that holds tensors only, or a folder written by ``save_pretrained``.
        step_size: Learning rate times the number of visits per sample the checkpoint stands for.
        step: Training steps done when it was saved; None where unknown.
    """

    parameters: Mapping[str, Tensor] | str | Path = field(repr=False)
    step_size: float = 1.0
    step: int | None = None

    def load(self) -> dict[str, Tensor]:
        """Return the state dict.

        Raises:
            CheckpointError: If it is missing, damaged, or a pickle that would run code.
        """
        if isinstance(self.parameters, Mapping):
            return dict(self.parameters)
        return read_weights(Path(self.parameters))

    @property
    def name(self) -> str:
        """What to call the checkpoint in a message."""
        if isinstance(self.parameters, Mapping):
            return "checkpoint" if self.step is None else f"checkpoint of step {self.step}"
        return f"checkpoint {str(self.parameters)!r}"


def check_checkpoints(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints as a list.

    Raises:
        InputError: If there is none, one is not a ``Checkpoint``, or a step size is not finite.
    """
    series = list(checkpoints)
    if not series:
        raise InputError("no checkpoint: expected at least one retrac_plugin.Checkpoint")
    for position, checkpoint in enumerate(series):
        if not isinstance(checkpoint, Checkpoint):
            raise InputError(
                f"checkpoint {position}: expected a retrac_plugin.Checkpoint, got a "
                f"{type(checkpoint).__name__}. Write Checkpoint(parameters=..., step_size=...)"
            )
        if not torch.isfinite(torch.tensor(checkpoint.step_size)):
            raise InputError(f"checkpoint {position}: step_size is {checkpoint.step_size}")
    return series


def load_into(
    network: nn.Module, checkpoint: Checkpoint, device: torch.device
) -> dict[str, Tensor]:
    """Return all of the network's tensors by name, on ``device``, with the checkpoint's values.

    The network itself is left as it is. Frozen parameters that the checkpoint does not hold, as in
    an adapter-only checkpoint, and non-persistent buffers come from the network.

    Raises:
        CheckpointError: If a tensor is missing, extra or misshapen.
    """
    state = checkpoint.load()
    own = dict(network.named_parameters()) | dict(network.named_buffers())
    saved = network.state_dict()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    missing = [n for n in saved if n in own and n not in state and n not in frozen]
    extra = [n for n in state if n not in saved]
    shapes = [n for n in state if n in own and state[n].shape != own[n].shape]
    if missing or extra or shapes:
        raise CheckpointError(
            f"{checkpoint.name} does not fit {type(network).__name__}: "
            + _misfit(
                missing,
                extra,
                [f"{n} {list(state[n].shape)} for {list(own[n].shape)}" for n in shapes],
            )
        )
    return {
        name: state.get(name, value).detach().to(device=device, dtype=value.dtype)
        for name, value in own.items()
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file or folder without ever running code from it.

    Raises:
        CheckpointError: If there is nothing to read, it is damaged, or it is an unsafe pickle.
    """
    if path.is_dir():
        return read_weights(_weights_in(path))
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}")
    if path.name.endswith(".index.json"):
        return _read_sharded(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"refused to unpickle {str(path)!r}: it is not a plain file of tensors, and loading it "
            "could run code. Save the weights as safetensors"
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{str(path)!r} holds no state dict (a mapping of names to tensors)")
    return dict(state)


def _weights_in(directory: Path) -> Path:
    for folder in (directory, directory / "unet"):
        for name in WEIGHT_FILES:
            if (folder / name).is_file():
                return folder / name
    raise CheckpointError(
        f"no weights in {str(directory)!r}: expected one of {', '.join(WEIGHT_FILES)}"
    )


def _read_sharded(index: Path) -> dict[str, Tensor]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{str(index)!r} is no index of weight files: {error}") from error
    state: dict[str, Tensor] = {}
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{str(index)!r} names a file outside its folder: {name!r}")
        state |= read_weights(index.parent / name)
    return state


def _misfit(missing: list[str], extra: list[str], shapes: list[str]) -> str:
    kinds = (("missing", missing), ("not in the network", extra), ("of another shape", shapes))
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)})"
        for kind, names in kinds
        if names
    )
