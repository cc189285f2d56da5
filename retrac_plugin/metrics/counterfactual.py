"""Counterfactual removal: does leaving out the proponents hurt more than leaving out others?

What is removed depends on the scores, so each method needs retrainings of its own; these are plain
functions of their outcome, not registered metrics. Source: Zheng et al., ICLR 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


class Removal(NamedTuple):
    """What removing proponents did, over queries."""

    rise: float
    """Mean rise of the loss without the proponents, over the loss of the full model."""
    random_rise: float
    """The same without as many random samples."""
    hurt_more: float
    """Share of queries that lost more without their proponents; ties count half, 0.5 is chance."""


def removal_of(full: Tensor, without_top: Tensor, without_random: Tensor) -> Removal:
    """Summarise losses after removal.

    Args:
        full: Each query's loss with the whole training set, ``[query]``.
        without_top: Its loss after retraining without its proponents, ``[query]``.
        without_random: Without as many random samples, ``[repeat, query]``.

    Raises:
        InputError: If shapes do not fit or a loss is not finite.
    """
    fits = full.ndim == 1 and without_top.shape == full.shape == without_random.shape[1:]
    if not fits or full.numel() == 0 or len(without_random) == 0:
        raise InputError(
            "expected losses [query], [query] and [repeat, query], got "
            f"{list(full.shape)}, {list(without_top.shape)} and {list(without_random.shape)}"
        )
    if not torch.cat([full[None], without_top[None], without_random]).isfinite().all():
        raise InputError("expected finite losses after removal")
    more = (without_top > without_random).double() + (without_top == without_random).double() / 2
    return Removal(
        rise=(without_top / full - 1).mean().item(),
        random_rise=(without_random / full - 1).mean().item(),
        hurt_more=more.mean().item(),
    )


def image_change(before: Tensor, after: Tensor) -> Tensor:
    """Return how far each regenerated picture moved, ``[query]``: the Euclidean pixel distance.

    Args:
        before: Pictures ``[query, C, H, W]`` of the full model.
        after: Pictures of the retrained model from the same initial noise.

    Raises:
        InputError: If shapes differ.
    """
    if before.shape != after.shape or before.ndim < 2:
        raise InputError(
            f"expected pictures of one shape, got {list(before.shape)} and {list(after.shape)}"
        )
    distance: Tensor = torch.linalg.vector_norm((after - before).flatten(1).double(), dim=1)
    return distance
