"""What is done with the rows of a pass: checked, and added up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from retrac_plugin.errors import GradientError


def check_finite(
    side: str, losses: Tensor, norms: Tensor, ids: Sequence[int], timesteps: Tensor, where: str
) -> None:
    """Refuse what is not finite and name the first such sample.

    Args:
        side: ``"train"`` or ``"query"``.
        losses: ``[row, draw]``.
        norms: ``[row]``.
        ids: Of the sample of each row.
        timesteps: ``[row * draw]``.
        where: The checkpoint.

    Raises:
        GradientError: If a loss or a norm is not finite.
    """
    bad = ~(losses.isfinite().all(1) & norms.isfinite())
    if not bad.any():
        return
    row = int(bad.nonzero()[0])
    what = "gradient" if losses[row].isfinite().all() else "loss"
    at = sorted(set(timesteps.view(len(norms), -1)[row].tolist()))
    raise GradientError(
        f"the {what} of {side} sample {ids[row]} is not finite at timestep "
        f"{', '.join(map(str, at))} of {where}"
    )


def add_rows(total: Tensor, places: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Add ``weights[i] * rows[i]`` to ``total[places[i]]`` without a copy of the rows.

    Args:
        total: ``[place, width]``.
        places: ``[row]``, ascending.
        rows: ``[row, width]``.
        weights: ``[row]``.
    """
    first, last = int(places[0]), int(places[-1])
    mixing = rows.new_zeros(last - first + 1, len(rows))
    mixing[places - first, torch.arange(len(rows))] = weights
    total[first : last + 1].addmm_(mixing, rows)
