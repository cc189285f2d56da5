"""The last resort: plain autograd, one sample after the other.

Slow, and right for whatever autograd can differentiate: no sample ever meets another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.engine import Batch, Parameters
from retrac_plugin.gradients.losses import Losses
from retrac_plugin.gradients.recomputation import refusing_recomputation


def chunks(
    losses: Losses, parameters: Parameters, names: Iterable[str], batch: Batch, draws: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield, row by row, losses ``[1, draw]`` and gradients by name, ``[1, *shape]``.

    Args:
        losses: The losses.
        parameters: The attributed parameters.
        names: Of those whose gradients are wanted.
        batch: ``row * draw`` samples, the draws of a row side by side.
        draws: How many consecutive losses are averaged into one row.
    """
    names = list(names)
    for start in range(0, tree_leaves(batch)[0].shape[0], draws):
        samples = [pick(batch, slice(i, i + 1)) for i in range(start, start + draws)]
        each, mean = [], dict.fromkeys(names, torch.zeros(()))
        for sample in samples:
            loss, gradients = gradient(losses, parameters, names, sample)
            each.append(loss)
            mean = {name: mean[name].to(g) + g / draws for name, g in gradients.items()}
        yield torch.cat(each)[None], {name: value[None] for name, value in mean.items()}


def gradient(
    losses: Losses, parameters: Parameters, names: Iterable[str], batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a batch's losses ``[sample]`` and the gradient of their sum by name.

    Raises:
        GradientError: If part of a gradient is taken out of sight.
    """
    leaves = {name: parameters[name].detach().requires_grad_() for name in names}
    values = {**parameters, **leaves}
    # The inputs' gradients are asked for because torch 2.13 crashes on a CPU in the backward
    # pass of a group norm of channels-last activations whose gradient nobody asks for.
    batch = tree_map(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), batch)
    inputs = [leaf for leaf in tree_leaves(batch) if leaf.requires_grad]

    def differentiate() -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.enable_grad():
            found = losses(values, copied(batch))
            if not found.requires_grad:
                return found, tuple(map(torch.zeros_like, leaves.values()))
            with refusing_recomputation():
                return found, torch.autograd.grad(
                    found.sum(),
                    [*leaves.values(), *inputs],
                    allow_unused=True,
                    materialize_grads=True,
                )

    found, gradients = losses.holding(values, differentiate)
    hidden = [name for name, leaf in leaves.items() if leaf.grad is not None]
    if hidden:
        raise GradientError(
            f"part of the gradient of {', '.join(map(repr, hidden[:3]))} is taken by a backward "
            "pass inside the backward pass (a reversible network, or gradient checkpointing of "
            "its own kind), where it cannot be seen: switch that off"
        )
    return found.detach(), dict(zip(leaves, gradients, strict=False))


def pick(batch: Batch, which: slice | Tensor) -> Batch:
    """Return some samples of a batch."""
    return tree_map(lambda leaf: leaf[which], batch)


def copied(batch: Batch) -> Batch:
    """Return copies, which a network may write into."""
    return tree_map(torch.clone, batch)
