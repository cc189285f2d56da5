"""Refuses what is not finite, and names the sample it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from retrac_plugin.errors import GradientError


@dataclass
class FiniteCheck:
    """Collects the losses and norms of a pass and looks at them once, at its end.

    Not in each batch: looking at values makes the CPU wait for the device.

    Attributes:
        side: ``"train"`` or ``"query"``.
        where: The checkpoint.
    """

    side: str
    where: str
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    timesteps: list[Tensor] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    def note(self, ids: Sequence[int], timesteps: Tensor, losses: Tensor, norms: Tensor) -> None:
        """Take the rows of a batch.

        Args:
            ids: Sample of each row.
            timesteps: ``[row * draw]``.
            losses: ``[row, draw]``.
            norms: ``[row]``.
        """
        self.ids += ids
        self.losses.append(losses)
        self.norms.append(norms)
        self.timesteps.append(timesteps.view(len(ids), -1))

    def finish(self) -> None:
        """Refuse what was taken if it is not finite.

        Raises:
            GradientError: If a loss or a norm is not finite.
        """
        if self.ids:
            check_finite(
                self.side,
                torch.cat(self.losses),
                torch.cat(self.norms),
                self.ids,
                torch.cat(self.timesteps),
                self.where,
            )


def check_finite(
    side: str, losses: Tensor, norms: Tensor, ids: Sequence[int], timesteps: Tensor, where: str
) -> None:
    """Refuse what is not finite and name the first such sample.

    Args:
        side: ``"train"`` or ``"query"``.
        losses: ``[row, draw]``.
        norms: ``[row]``.
        ids: Of the sample of each row.
        timesteps: ``[row, draw]``.
        where: The checkpoint.

    Raises:
        GradientError: If a loss or a norm is not finite.
    """
    bad = ~(losses.isfinite().all(1) & norms.isfinite())
    if not bad.any():
        return
    row = int(bad.nonzero()[0])
    what = "gradient" if losses[row].isfinite().all() else "loss"
    at = sorted(set(timesteps[row].tolist()))
    raise GradientError(
        f"the {what} of {side} sample {ids[row]} is not finite at timestep "
        f"{', '.join(map(str, at))} of {where}"
    )
