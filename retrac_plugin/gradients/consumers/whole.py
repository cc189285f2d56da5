"""Whole rows: the query side's gradients, and what tests look at."""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.contributions import OuterProducts


class Rows:
    """Puts the pieces together.

    Attributes:
        gradients: ``[row, width]``.
    """

    def __init__(self, rows: int, width: int, like: Tensor) -> None:
        self.gradients = like.new_zeros(rows, width)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self.gradients[rows, columns] = block

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)
