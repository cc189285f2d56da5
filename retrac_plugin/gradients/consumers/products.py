"""Inner products of every row with some vectors, and norms beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.consumers.norms import row_norms
from retrac_plugin.gradients.contributions import OuterProducts


class ProductsAndNorms:
    """Multiplies each block with the same columns of the vectors while it is in the cache.

    Attributes:
        dots: ``[vector, row]``.
        norms: ``[row]``.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        dtype = torch.promote_types(vectors.dtype, torch.float32)
        self.dots = vectors.new_zeros(vectors.shape[0], 0, dtype=dtype)
        self.norms = vectors.new_zeros(0, dtype=dtype)

    def add_rows(self, count: int) -> slice:
        """Make room for more rows and return where they are."""
        start = self.norms.shape[0]
        new = self.dots.new_zeros(self.dots.shape[0] + 1, count)
        self.dots = torch.cat([self.dots, new[1:]], dim=1)
        self.norms = torch.cat([self.norms, new[0]])
        return slice(start, start + count)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        block = block.to(self.vectors.dtype)
        self.dots[:, rows] += self.vectors[:, columns] @ block.T
        norms = row_norms(block).to(self.norms.dtype)
        self.norms[rows] = torch.hypot(self.norms[rows], norms)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)
