"""In which numbers rows are kept: float32, or less than that with a scale a row.

Gradients are small and of very different sizes, so what has few digits is divided by its row's
largest absolute value first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Packed(NamedTuple):
    """Rows as they are kept."""

    values: Tensor
    """``[sample, ..., d]``."""
    scales: Tensor | None
    """``[sample, ...]`` in float32: what a row's values are multiplied by; None: nothing."""

    def rows(self) -> Tensor:
        """Return the rows in float32."""
        wide = self.values.to(torch.float32)
        return wide if self.scales is None else wide.mul_(self.scales[..., None])


class RowType(NamedTuple):
    """How rows are kept.

    Attributes:
        pack: ``rows -> packed``.
        dtype: Of the values.
        scaled: Whether they have scales.
    """

    pack: Callable[[Tensor], Packed]
    dtype: torch.dtype
    scaled: bool


def _whole(rows: Tensor) -> Packed:
    return Packed(rows.to(torch.float32), None)


def _halved(rows: Tensor) -> Packed:
    scales = _largest(rows)
    return Packed((rows / _divisors(scales)).to(torch.float16), scales)


def _bytes(rows: Tensor) -> Packed:
    scales = _largest(rows) / 127
    return Packed((rows / _divisors(scales)).round().to(torch.int8), scales)


def _largest(rows: Tensor) -> Tensor:
    return rows.abs().amax(-1).to(torch.float32)


def _divisors(scales: Tensor) -> Tensor:
    return torch.where(scales > 0, scales, 1)[..., None]


ROW_TYPES = {
    "float32": RowType(_whole, torch.float32, scaled=False),
    "float16": RowType(_halved, torch.float16, scaled=True),
    "int8": RowType(_bytes, torch.int8, scaled=True),
}
"""By name: four, two or one byte a number."""
