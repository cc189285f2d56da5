"""The norm of every row."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.contributions import OuterProducts

_CHUNK = 512


def row_norms(block: Tensor) -> Tensor:
    """Return the norm of each row of a block, ``[row]``.

    In two steps: sums over short stretches are faster and lose fewer digits than one long sum.
    """
    if block.shape[1] % _CHUNK == 0:
        block = _norms(block.reshape(block.shape[0], -1, _CHUNK))
    return _norms(block)


def _norms(values: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norms


class Norms:
    """Collects norms; squares are never formed on their own, so small ones do not underflow.

    Attributes:
        norms: ``[row]``.
    """

    def __init__(self, rows: int, like: Tensor) -> None:
        self.norms = like.new_zeros(rows, dtype=torch.promote_types(like.dtype, torch.float32))

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._add(rows, row_norms(block))

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        kernel, num_out, num_in = products.shape
        by_positions = products.positions * (num_out + kernel * num_in)
        if by_positions < kernel * num_out * num_in:
            self._add(rows, products.norms())
        else:
            stream(self, rows, columns, products)

    def _add(self, rows: slice, norms: Tensor) -> None:
        self.norms[rows] = torch.hypot(self.norms[rows], norms.to(self.norms.dtype))
