"""Checkpoints: parameters saved in training and the step size they stand for, read safely."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrac_plugin.checkpoints.names import by_names_of
from retrac_plugin.checkpoints.preconditioners import Preconditioner
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.errors import CheckpointError

_NAMED = 3
"""How many tensors an error names."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Parameters saved in training, and the step size of the training they represent.

    Attributes:
        parameters: The network's state dict, which is copied, since training goes on in the memory
            of a live one; or where it lies: a ``.safetensors`` file, a ``.pt``
            or ``.bin`` file that holds tensors only, or a folder written by ``save_pretrained``.
        step_size: Learning rate times the number of visits per sample the checkpoint stands for.
        step: Training steps done when it was saved; None where unknown.
        read: How to read it where it lies; for files that hold more than a state dict, or one by
            other names than the network's.
        preconditioner: How the optimiser scaled its steps by parameter, see ``preconditioners``;
            None for plain gradient steps.
        query_parameters: Other weights, likewise, at which to take the queries' gradients, such as
            the moving average that pictures are made with; None for the same.
    """

    parameters: Mapping[str, Tensor] | str | Path = field(repr=False)
    step_size: float = 1.0
    step: int | None = None
    read: Callable[[Path], dict[str, Tensor]] = field(default=read_weights, repr=False)
    preconditioner: Preconditioner | None = field(default=None, repr=False)
    query_parameters: Mapping[str, Tensor] | str | Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("parameters", "query_parameters"):
            object.__setattr__(self, name, _own(getattr(self, name)))

    def on_query_side(self) -> Checkpoint:
        """Return the checkpoint at which the queries' gradients are taken; itself by default."""
        if self.query_parameters is None:
            return self
        return replace(self, parameters=self.query_parameters, query_parameters=None)

    def step_at(self, position: int) -> int:
        """Return its training step; its position in the series where that is not known."""
        return position if self.step is None else self.step

    def load(self) -> dict[str, Tensor]:
        """Return the state dict.

        Raises:
            CheckpointError: If it is missing, damaged, or a pickle that would run code.
        """
        if isinstance(self.parameters, Mapping):
            return dict(self.parameters)
        return self.read(Path(self.parameters))

    @property
    def name(self) -> str:
        """What to call the checkpoint in a message."""
        if isinstance(self.parameters, Mapping):
            return "checkpoint" if self.step is None else f"checkpoint of step {self.step}"
        return f"checkpoint {str(self.parameters)!r}"


class _Copied(dict[str, Tensor]):
    """A state dict in memory of its own, which need not be copied again."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Saved as any state dict, or nothing that loads tensors only would read it.
        return OrderedDict, (), None, None, iter(self.items())


def _own(weights: Any) -> Any:
    """Return a state dict as a copy; whatever says where one lies, as it is."""
    if not isinstance(weights, Mapping) or isinstance(weights, _Copied):
        return weights
    copied = {n: v.detach().clone() if isinstance(v, Tensor) else v for n, v in weights.items()}
    return _Copied(copied)


@torch.inference_mode(False)  # whatever mode the caller is in, autograd must take what is loaded
def load_into(
    network: nn.Module, checkpoint: Checkpoint, device: torch.device
) -> dict[str, Tensor]:
    """Return all of the network's tensors by name, on ``device``, with the checkpoint's values.

    The network itself is left as it is. What it stores in 8-bit floats comes in the type in which
    it computes. Frozen parameters that the checkpoint does not hold, and
    non-persistent buffers, come from the network; so do all buffers where it holds no frozen
    parameter at all, as in an adapter-only checkpoint.

    Raises:
        CheckpointError: If a tensor is missing, extra or misshapen.
    """
    own = dict(network.named_parameters()) | dict(network.named_buffers())
    state = by_names_of(network.state_dict(), checkpoint.load())
    saved = network.state_dict()
    optional = {name for name, p in network.named_parameters() if not p.requires_grad}
    if optional and not optional & state.keys():
        optional |= dict(network.named_buffers()).keys()
    missing = [n for n in saved if n in own and n not in state and n not in optional]
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
    buffers = dict(network.named_buffers()).keys()
    computed = _computed_type(own.values())
    loaded = {}
    for name, value in own.items():
        source = state.get(name, value).detach()
        if source.is_meta or device.type == "meta":
            raise CheckpointError(
                f"{name!r} of {type(network).__name__} is on the meta device, without values: load "
                "the network's weights, and switch offloading off, before it is attributed"
            )
        if name in buffers or source.is_inference():  # a network may write into its buffers
            source = source.clone()
        dtype = computed if _is_for_storage(value) else value.dtype
        loaded[name] = source.to(device=device, dtype=dtype)
    return loaded


def network_at(network: nn.Module, checkpoint: Checkpoint, device: torch.device) -> nn.Module:
    """Return a copy of a network on ``device`` that holds a checkpoint's values; see ``load_into``.

    Raises:
        CheckpointError: As ``load_into``.
    """
    made = copy.deepcopy(network).to(device)
    values = load_into(network, checkpoint, device)
    own = dict(made.named_parameters()) | dict(made.named_buffers())
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)
    return made


def _is_for_storage(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize == 1


def _computed_type(tensors: Iterable[Tensor]) -> torch.dtype:
    """Return the floating type, of more than 8 bits, that most of a network's numbers have."""
    sizes: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point() and not _is_for_storage(tensor):
            sizes[tensor.dtype] += tensor.numel()
    return sizes.most_common(1)[0][0] if sizes else torch.bfloat16


def _misfit(missing: list[str], extra: list[str], shapes: list[str]) -> str:
    kinds = (("missing", missing), ("not in the network", extra), ("of another shape", shapes))
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)})"
        for kind, names in kinds
        if names
    )
