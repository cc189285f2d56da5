"""The shapes in which a framework hands data to a loss, brought to one: rows of single draws.

TracIn and TRAK call a loss with one sample and no batch dimension, the influence functions with one
sample and a dimension of 1, their Hessians with a whole batch (dattri issue 86).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


class Rows(NamedTuple):
    """Single draws of all samples, side by side."""

    samples: Tensor
    """``[row, *sample]``."""
    timesteps: Tensor
    """``[row]``, int64."""
    noise: Tensor
    """``[row, *sample]``."""
    conditions: list[Tensor]
    """Each ``[row, ...]``."""


def as_rows(data: Sequence[Tensor], checkpoint: int, dtype: torch.dtype) -> Rows:
    """Return the draws of one checkpoint as rows.

    Args:
        data: ``(x0 [..., *sample], t [..., K, T], noise [..., K, T, S, *sample], *conditions)`` as
            ``DrawnExamples`` yields and ``...`` being no dimension, a 1 or a batch; or one draw of
            each sample, ``(x0 [..., *sample], t [...], noise [..., *sample], *conditions)``.
        checkpoint: Which of ``K``.
        dtype: Floating type of the network.

    Raises:
        InputError: If the data are shaped otherwise.
    """
    samples, timesteps, noise, *conditions = data
    timesteps = timesteps.long()  # dattri's LiSSA makes floats of everything but the first item
    if noise.dim() == samples.dim() + 3:
        lead = timesteps.dim() - 2
        timesteps, noise = timesteps.select(lead, checkpoint), noise.select(lead, checkpoint)
    elif noise.shape == samples.shape:
        lead = timesteps.dim()
        timesteps, noise = timesteps.unsqueeze(lead), noise.unsqueeze(lead).unsqueeze(lead)
    else:
        lead = -1
    if lead < 0 or samples.shape[:lead] != timesteps.shape[:lead]:
        raise InputError(
            "data: expected (x0, t, noise, *conditions) as DiffusionAttributionTask.drawn yields, "
            f"got the shapes {[tuple(part.shape) for part in data]}"
        )
    draws = noise.shape[lead : lead + 2]

    def repeated(part: Tensor) -> Tensor:
        """Repeat a sample's own value for each of its draws."""
        spread = part.unsqueeze(lead).unsqueeze(lead)
        return spread.expand(*part.shape[:lead], *draws, *part.shape[lead:]).flatten(0, lead + 1)

    return Rows(
        _cast(repeated(samples), dtype),
        timesteps.unsqueeze(-1).expand(*timesteps.shape, draws[1]).flatten(),
        _cast(noise.flatten(0, lead + 1), dtype),
        [_cast(repeated(part), dtype) for part in conditions],
    )


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
