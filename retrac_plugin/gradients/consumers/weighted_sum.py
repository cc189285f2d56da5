"""One weighted sum of all rows."""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.contributions import OuterProducts


class WeightedSum:
    """Adds rows up as they pass by, in the memory of one.

    Attributes:
        total: ``[width]``.
    """

    def __init__(self, weights: Tensor, width: int) -> None:
        self.weights = weights
        self.total = weights.new_zeros(width)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self.total[columns].add_(self.weights[rows] @ block.to(self.weights.dtype))

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)
