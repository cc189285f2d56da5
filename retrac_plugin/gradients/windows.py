"""Batches whose products are finished together."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.consumers.deferring import Deferring
from retrac_plugin.gradients.consumers.products import ProductsAndNorms
from retrac_plugin.gradients.engine import Products

ENOUGH_ROWS = 64
"""Rows from which a product with many vectors spends its time multiplying, not reading."""

MANY_VECTORS = 32
"""With fewer, reading the vectors costs little; what would wait could outgrow them."""


class Window:
    """Some consecutive batches' rows.

    Args:
        vectors: What rows are multiplied with.
        rows: Rows of the first batch.
    """

    def __init__(self, vectors: Tensor, rows: int) -> None:
        waits = vectors.shape[0] >= MANY_VECTORS and rows < ENOUGH_ROWS
        self._capacity = rows * (-(-ENOUGH_ROWS // rows)) if waits else rows
        self._products = ProductsAndNorms(vectors, self._capacity)
        self._deferring = Deferring(self._products) if waits else None
        self._losses: list[Tensor] = []
        self._filled = 0

    @property
    def consumer(self) -> Consumer:
        """Where the gradients of the next rows go."""
        return self._products if self._deferring is None else self._deferring

    def has_room(self, rows: int) -> bool:
        """Whether a batch of so many rows fits in."""
        return self._filled + rows <= self._capacity

    def place(self, rows: int) -> slice:
        """Return where the next rows go."""
        self._filled += rows
        return slice(self._filled - rows, self._filled)

    def note(self, losses: Tensor) -> None:
        """Take the losses ``[row, draw]`` of the rows placed last."""
        self._losses.append(losses)

    def finish(self) -> Iterator[Products]:
        """Yield the products of every batch, in order."""
        if self._deferring is not None:
            self._deferring.flush()
        dots, norms = self._products.dots.T, self._products.norms()
        start = 0
        for losses in self._losses:
            rows = slice(start, start + len(losses))
            yield Products(losses, dots[rows], norms[rows])
            start = rows.stop
