"""The slow, obvious twin: one backward pass by autograd for every single sample."""

from __future__ import annotations

import functools

import torch
from torch.utils._pytree import tree_leaves, tree_map

from tests.gradients.cases import build


@functools.cache
def rows_of(name, draws=1, dtype=torch.float64):
    """Return ``row_gradients`` of a case, computed once."""
    return row_gradients(build(name, dtype), draws)


def row_gradients(case, draws=1):
    """Return each row's gradient by parameter name, ``[row, *shape]``."""
    leaves = {n: p.clone().requires_grad_() for n, p in case.parameters.items()}
    samples = next(iter(case.batch.values())).shape[0]
    each = []
    for i in range(samples):
        alone = tree_map(
            lambda leaf, i=i: leaf[i : i + 1].detach().requires_grad_(leaf.is_floating_point()),
            case.batch,
        )
        loss = case.losses(leaves, alone).squeeze()
        # Channels-last activations whose gradient nobody asks for crash torch 2.13.
        inputs = [leaf for leaf in tree_leaves(alone) if leaf.requires_grad]
        gradients = torch.autograd.grad(
            loss, [*leaves.values(), *inputs], allow_unused=True, materialize_grads=True
        )
        each.append(gradients[: len(leaves)])
    return {
        name: torch.stack(column).unflatten(0, (-1, draws)).mean(1)
        for name, column in zip(leaves, zip(*each, strict=True), strict=True)
    }


def flat(by_name):
    """Return gradients by name side by side, ``[row, parameter]``."""
    return torch.cat([gradient.reshape(len(gradient), -1) for gradient in by_name.values()], dim=1)
