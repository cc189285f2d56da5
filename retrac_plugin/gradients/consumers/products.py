"""Inner products of every row with some vectors, and norms beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.consumers.norms import Norms
from retrac_plugin.gradients.contributions import OuterProducts


class ProductsAndNorms:
    """Multiplies each block with the same columns of the vectors while it is in the cache.

    Attributes:
        dots: ``[vector, row]``.
    """

    def __init__(self, vectors: Tensor, rows: int) -> None:
        self.vectors = vectors
        self.dots = vectors.new_zeros(
            vectors.shape[0], rows, dtype=torch.promote_types(vectors.dtype, torch.float32)
        )
        self._norms = Norms(rows, vectors)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        block = block.to(self.vectors.dtype)
        self._norms.block(rows, columns, block)
        dots, vectors = self.dots[:, rows], self.vectors[:, columns]
        if dots.dtype == block.dtype:
            dots.addmm_(vectors, block.T)
        else:
            dots.add_(vectors @ block.T)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        if self.vectors.shape[0] == 0:
            self._norms.outer(rows, columns, products)
        else:
            stream(self, rows, columns, products)

    def norms(self) -> Tensor:
        """Return the norms so far, ``[row]``."""
        return self._norms.norms()
