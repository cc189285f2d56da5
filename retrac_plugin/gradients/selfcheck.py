"""Compares streamed gradients with plain autograd before they are trusted.

Two samples are run together and, by plain autograd, one by one; the same weighted sum of their two
gradients must come out, parameter by parameter. That finds layers whose first dimension is not the
sample, and models whose samples see each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.consumers.weighted_sum import WeightedSum
from retrac_plugin.gradients.engine import Batch
from retrac_plugin.gradients.streamer import Streamer

SAMPLES = 2
_WEIGHTS = (1.0, 0.5)
"""Unequal, so that exchanging, averaging or merging the two samples would show."""


def check(streamer: Streamer, batch: Batch) -> int:
    """Move parameters whose streamed gradients are wrong to the fallback; return samples compared.

    Losses or gradients that are not finite cannot be compared: then 0 is returned.

    Raises:
        GradientError: If samples see each other, so that even the fallback disagrees with autograd.
    """
    batch = tree_map(lambda leaf: leaf[:SAMPLES], batch)
    samples: int = tree_leaves(batch)[0].shape[0]
    weights = torch.tensor(_WEIGHTS[:samples]).to(streamer.like)
    together, found = _together(streamer, batch, weights)
    alone, expected = _one_by_one(streamer, batch, weights)
    if not all(bool(value.isfinite().all()) for value in (alone, *expected.values())):
        return 0
    _compare_losses(streamer, together, alone)
    wrong = _compare_gradients(streamer, found, expected)
    for name, error in wrong.items():
        if name in streamer.fallbacks:
            raise _entangled(name, error)
        streamer.fallbacks[name] = f"its rule is off by {error:.1e} of the gradient's norm"
    if wrong:
        _, found = _together(streamer, batch, weights)
        for name, error in _compare_gradients(streamer, found, expected).items():
            raise _entangled(name, error)
    return samples


def _together(
    streamer: Streamer, batch: Batch, weights: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the losses of a batch, and the weighted sum of its streamed gradients by name."""
    total = WeightedSum(weights, streamer.layout.width)
    losses = streamer.stream(batch, 1, total, slice(0, len(weights)))
    by_name = streamer.layout.unflatten(total.total[None])
    return losses.flatten(), {name: value[0] for name, value in by_name.items()}


def _one_by_one(
    streamer: Streamer, batch: Batch, weights: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each sample's loss alone, and the gradient of their weighted sum by name."""
    leaves = {n: v.detach().requires_grad_() for n, v in streamer.parameters.items()}
    batch = tree_map(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), batch)
    inputs = [leaf for leaf in tree_leaves(batch) if leaf.requires_grad]
    with torch.enable_grad():
        losses = torch.cat(
            [
                streamer.losses(leaves, tree_map(lambda leaf, i=i: leaf[i : i + 1], batch))
                for i in range(len(weights))
            ]
        )
        if not losses.requires_grad:
            return losses, {name: torch.zeros_like(value) for name, value in leaves.items()}
        # The inputs' gradients are asked for because torch 2.13 crashes on a CPU in the backward
        # pass of a group norm of channels-last activations whose gradient nobody asks for.
        gradients = torch.autograd.grad(
            (losses * weights).sum(),
            [*leaves.values(), *inputs],
            allow_unused=True,
            materialize_grads=True,
        )
    return losses.detach(), dict(zip(leaves, gradients, strict=False))


def _compare_losses(streamer: Streamer, together: Tensor, alone: Tensor) -> None:
    relative, _ = _tolerances(streamer)
    if ((together - alone).abs() > relative * alone.abs()).any():
        raise GradientError(
            f"the losses of {len(alone)} samples together are {together.tolist()}, one by one "
            f"{alone.tolist()}: expected a loss that depends on its own sample alone. "
            "Is the network in evaluation mode?"
        )


def _compare_gradients(
    streamer: Streamer, found: dict[str, Tensor], expected: dict[str, Tensor]
) -> dict[str, float]:
    """Return by how much of its norm each wrong parameter's gradient is off."""
    relative, absolute = _tolerances(streamer)
    norms = {name: float(torch.linalg.vector_norm(value)) for name, value in expected.items()}
    floor = absolute * sum(norm**2 for norm in norms.values()) ** 0.5
    errors = {
        name: float(torch.linalg.vector_norm(found[name] - value))
        for name, value in expected.items()
    }
    return {
        name: error / (norms[name] or 1)
        for name, error in errors.items()
        if error > relative * norms[name] + floor
    }


def _tolerances(streamer: Streamer) -> tuple[float, float]:
    """Return what counts as rounding: of a parameter's own norm, and of the whole gradient's."""
    rounding = max(torch.finfo(value.dtype).eps for value in streamer.parameters.values())
    relative = 3 * rounding**0.5
    return relative, relative / 100


def _entangled(name: str, error: float) -> GradientError:
    return GradientError(
        f"the gradient of {name!r} for a sample in a batch is off by {error:.1e} of its norm from "
        "that of the sample alone: expected a loss that depends on its own sample alone"
    )
