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
        GradientError: If even the fallback disagrees with autograd.
    """
    batch = tree_map(lambda leaf: leaf[:SAMPLES], batch)
    samples: int = tree_leaves(batch)[0].shape[0]
    weights = torch.tensor(_WEIGHTS[:samples], device=streamer.like.device).to(streamer.like)
    alone, expected = _one_by_one(streamer, batch, weights)
    if not alone.isfinite().all() or not _all_finite(expected):
        return 0
    for _ in range(2):
        wrong = _disagreements(streamer, batch, weights, alone, expected)
        undecided = {n: e for n, e in wrong.items() if n in streamer.fallbacks}
        if undecided:
            name, error = max(undecided.items(), key=lambda item: item[1])
            raise GradientError(
                f"the gradient of {name!r} for a sample in a batch differs from that of the sample "
                f"alone by {error:.1e} of its norm. Do samples see each other in the model?"
            )
        streamer.fallbacks |= {
            name: f"its rule disagrees with autograd by {error:.1e} of the gradient's norm"
            for name, error in wrong.items()
        }
        if not wrong:
            break
    return samples


def _one_by_one(
    streamer: Streamer, batch: Batch, weights: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each sample's loss alone, and the gradient of their weighted sum by name."""
    leaves = {n: v.detach().requires_grad_() for n, v in streamer.parameters.items()}
    with torch.enable_grad():
        losses = torch.cat(
            [
                streamer.losses(leaves, tree_map(lambda leaf, i=i: leaf[i : i + 1], batch))
                for i in range(len(weights))
            ]
        )
        gradients = torch.autograd.grad(
            (losses * weights).sum(),
            list(leaves.values()),
            allow_unused=True,
            materialize_grads=True,
        )
    return losses.detach(), dict(zip(leaves, gradients, strict=True))


def _disagreements(
    streamer: Streamer,
    batch: Batch,
    weights: Tensor,
    alone: Tensor,
    expected: dict[str, Tensor],
) -> dict[str, float]:
    """Return by how much of its norm each wrong parameter's gradient is off."""
    total = WeightedSum(weights, streamer.layout.width)
    losses = streamer.stream(batch, 1, total, slice(0, len(weights)))
    relative, absolute = _tolerances(streamer.like.dtype)
    if ((losses.flatten() - alone).abs() > relative * alone.abs()).any():
        raise GradientError(
            f"the losses of {len(alone)} samples together are {losses.flatten().tolist()}, one by "
            f"one {alone.tolist()}: expected a loss that depends on its own sample alone. "
            "Is the network in evaluation mode?"
        )
    found = streamer.layout.unflatten(total.total[None])
    norms = {name: float(torch.linalg.vector_norm(value)) for name, value in expected.items()}
    floor = absolute * sum(norm**2 for norm in norms.values()) ** 0.5
    errors = {
        name: float(torch.linalg.vector_norm(found[name][0] - value))
        for name, value in expected.items()
    }
    return {
        name: error / max(norms[name], floor)
        for name, error in errors.items()
        if error > relative * norms[name] + floor
    }


def _tolerances(dtype: torch.dtype) -> tuple[float, float]:
    """Return what counts as rounding: of a parameter's own norm, and of the whole gradient's."""
    relative = 3 * torch.finfo(dtype).eps ** 0.5
    return relative, relative / 100


def _all_finite(gradients: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in gradients.values())
