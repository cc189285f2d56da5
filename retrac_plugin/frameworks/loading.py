"""Checkpoints that a user's function loads into the user's network: once each, and not for good.

Memory: one copy of the network's tensors to give back, and one for each checkpoint loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.errors import InputError

Load = Callable[[Any, Any], float]
"""``(network, checkpoint) -> step size``, which loads the checkpoint into the network."""


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Give the network back its tensors, modes and ``requires_grad``, also after an error."""
    values = _copied(network)
    modes = [(module, module.training) for module in network.modules()]
    needed = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        yield
    finally:
        _write(network, values)
        for module, training in modes:
            module.training = training
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(needed[name])


@contextmanager
def loaded_once(network: nn.Module, load: Load) -> Iterator[Load]:
    """Yield what does as ``load`` does but calls it once per checkpoint; then restore the network.

    Args:
        network: The network that checkpoints are loaded into.
        load: The user's function. What it does to the network's tensors is kept and repeated.
    """
    kept: dict[int, tuple[Any, dict[str, Tensor], float]] = {}

    def load_or_repeat(model: nn.Module, checkpoint: Any) -> float:
        if id(checkpoint) not in kept:
            step_size = _loaded(model, checkpoint, load)
            # The checkpoint is kept as well, so that no other object gets its id.
            kept[id(checkpoint)] = (checkpoint, _copied(model), step_size)
            return step_size
        _, values, step_size = kept[id(checkpoint)]
        _write(model, values)
        return step_size

    with restored(network):
        yield load_or_repeat


def as_checkpoints(
    items: Iterable[Any], readable: tuple[type, ...], network: nn.Module, load: Load
) -> list[Checkpoint]:
    """Return checkpoints of ours for a framework's.

    Args:
        items: Checkpoints of ours, files or folders of weights, or whatever ``load`` takes.
        readable: The types that need no ``load``, which are read when they are needed. The others
            are loaded now, one copy each on the CPU, since only ``load`` knows their step sizes.
        network: The network that ``load`` loads into; it is given back as it was.
        load: The user's function.

    Raises:
        InputError: If ``load`` returns no step size.
    """
    series = list(items)
    if all(isinstance(item, readable) for item in series):
        return [_as_checkpoint(item) for item in series]
    with restored(network):
        return [
            _as_checkpoint(item) if isinstance(item, readable) else _read(network, item, load)
            for item in series
        ]


def _as_checkpoint(item: Any) -> Checkpoint:
    return item if isinstance(item, Checkpoint) else Checkpoint(item)


def _read(network: nn.Module, item: Any, load: Load) -> Checkpoint:
    step_size = _loaded(network, item, load)
    state = network.state_dict().items()
    # To the CPU: a graphics card need hold one checkpoint at a time only.
    return Checkpoint({n: v.detach().to("cpu", copy=True) for n, v in state}, step_size)


def _loaded(network: nn.Module, checkpoint: Any, load: Load) -> float:
    step_size = load(network, checkpoint)
    if not isinstance(step_size, (int, float, Tensor)):
        raise InputError(
            f"the function that loads checkpoints returned {step_size!r}, expected the step size "
            f"(learning rate) of {checkpoint!r} as a number"
        )
    return float(step_size)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in _tensors(network)}


def _write(network: nn.Module, values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(network):
            tensor.copy_(values[name])


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
