"""What becomes of a gradient's norm: the one difference between the two methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.gradients.row_norms import row_norms

Rescaling = Callable[[Tensor], Tensor]
"""``norms -> factors``, by which the gradients of these norms are multiplied."""


def keep_norm(norms: Tensor) -> Tensor:
    """Diffusion-TracIn: gradients as they are."""
    return torch.ones_like(norms)


def unit_norm(norms: Tensor) -> Tensor:
    """Diffusion-ReTrac: gradients of norm 1; a zero gradient has no direction and stays zero."""
    return torch.where(norms > 0, norms.reciprocal(), 0)


def directions(rows: Tensor) -> Tensor:
    """Return rows ``[row, number]`` of norm 1; a row of zeros has no direction and stays."""
    return rows * unit_norm(row_norms(rows))[:, None]


@dataclass(frozen=True)
class Method:
    """One of the methods.

    Attributes:
        name: As in the paper.
        rescale: What becomes of a gradient's norm.
    """

    name: str
    rescale: Rescaling


DIFFUSION_TRACIN = Method("Diffusion-TracIn", keep_norm)
DIFFUSION_RETRAC = Method("Diffusion-ReTrac", unit_norm)
