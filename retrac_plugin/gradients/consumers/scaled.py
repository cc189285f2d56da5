"""Gradients whose columns are scaled on their way, as by an optimiser's preconditioner."""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer, stream
from retrac_plugin.gradients.contributions import OuterProducts


class Scaled:
    """Hands ``scale * gradient`` to a consumer, piece by piece.

    A scaled sum of outer products is none any more, so weights are handed on as blocks.

    Args:
        consumer: Who gets the scaled gradients.
        scale: ``[width]``.
    """

    def __init__(self, consumer: Consumer, scale: Tensor) -> None:
        self._consumer, self._scale = consumer, scale

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._consumer.block(rows, columns, block * self._scale[columns])

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)
