"""How a network is called: with a checkpoint's tensors in place of its own, as it is written."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map


def seen_through(network: Any) -> Any:
    """Return the network inside ``torch.compile``, ``DataParallel`` and their like."""
    while isinstance(network, nn.Module):
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif "_orig_mod" in network._modules:  # torch.compile
            network = network._orig_mod
        else:
            break
    return network


def call_with(
    network: nn.Module, tensors: Mapping[str, Tensor], args: Any, kwargs: dict[str, Any]
) -> Any:
    """Call a network with some of its tensors replaced, by name; compiled parts run uncompiled."""
    with _uncompiled():
        return functional_call(network, dict(tensors), args, kwargs)


def given(tree: Any, tensors: Mapping[str, Tensor], computed: torch.dtype) -> Any:
    """Return what a network is given: copies, since it may write into them, in its own type.

    Where a float32 adapter lies in a network of less precision, samples are noised, and losses
    taken, in float32 as in training; what the network is shown has the type of the network.

    Args:
        tree: Tensors, in mappings or alone.
        tensors: The network's, which are to be used.
        computed: The floating type in which samples are noised.
    """
    sizes: Counter[torch.dtype] = Counter()
    for value in tensors.values():
        if value.is_floating_point() and value.dtype.itemsize > 1:  # fewer bits are for storage
            sizes[value.dtype] += value.numel()
    shown = sizes.most_common(1)[0][0] if sizes else computed

    def copy(leaf: Tensor) -> Tensor:
        return leaf.to(shown if leaf.dtype == computed else leaf.dtype, copy=True)

    return tree_map(copy, tree)


def _uncompiled() -> AbstractContextManager[object]:
    """Return a context in which what ``torch.compile`` made runs as it was written."""
    # Where nothing was compiled, dynamo is not even loaded, and need not be.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
