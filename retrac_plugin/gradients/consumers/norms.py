"""The norm of every row."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.contributions import OuterProducts
from retrac_plugin.gradients.row_norms import row_norms


class Norms:
    """Collects the norms of a row's pieces; their norm is the row's."""

    def __init__(self, rows: int, like: Tensor) -> None:
        self._like = like.new_zeros(rows, dtype=torch.promote_types(like.dtype, torch.float32))
        self._parts: dict[tuple[int, int], list[Tensor]] = {}

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

    def norms(self) -> Tensor:
        """Return the norms so far, ``[row]``."""
        total = self._like
        for (start, stop), parts in self._parts.items():
            here = torch.zeros_like(total)
            here[start:stop] = row_norms(torch.stack(parts, dim=1))
            total = torch.hypot(total, here)
        return total

    def _add(self, rows: slice, norms: Tensor) -> None:
        parts = self._parts.setdefault((rows.start, rows.stop), [])
        parts.append(norms.to(self._like.dtype))
