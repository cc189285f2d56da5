"""Which layers of a network kronfluence can track."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from retrac_plugin.errors import InputError


def tracked_layers(
    network: nn.Module, attributed: Collection[str], run: Callable[[], Any], rows: int
) -> list[str]:
    """Return the names of the layers that take part, in the network's order.

    These are linear layers and convolutions of images, all of whose parameters are attributed and
    whose input has a row for each row of the batch. A convolution in groups, or one padded by
    other than zeros, kronfluence takes for a plain one; a layer that is called with other rows, it
    takes for one of other samples. Such layers are left out, and so are all other parameters.

    Args:
        network: The network.
        attributed: Names of the attributed parameters.
        run: Calls the network once.
        rows: How many rows that call has.

    Raises:
        InputError: If there is none.
    """
    kinds = {n: m for n, m in network.named_modules() if _can_be_tracked(m)}
    own = {n: m for n, m in kinds.items() if all(p in attributed for p in _parameters(n, m))}
    fits = _fits(own, run, rows)
    found = [name for name in own if fits.get(name, False)]
    if not found:
        raise InputError(
            f"kronfluence tracks nn.Linear and nn.Conv2d layers, and {type(network).__name__} has "
            f"none that it can: {len(kinds)} of these kinds, {len(own)} of them with all "
            "parameters attributed, none of those with one row of input for each sample"
        )
    return found


def _can_be_tracked(module: nn.Module) -> bool:
    # Not subclasses, which kronfluence does not look up, and which may compute something else.
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros"
    return type(module) is nn.Linear


def _parameters(name: str, module: nn.Module) -> list[str]:
    return [f"{name}.{part}" for part, _ in module.named_parameters(recurse=False)]


def _fits(layers: dict[str, nn.Module], run: Callable[[], Any], rows: int) -> dict[str, bool]:
    """Return of each layer that is called whether every call has as many rows as the batch."""
    fits: dict[str, bool] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        fits[name] = fits.get(name, True) and bool(inputs) and len(inputs[0]) == rows

    handles = [m.register_forward_pre_hook(partial(note, n)) for n, m in layers.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return fits
