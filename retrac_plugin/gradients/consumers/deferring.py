"""Layers with few positions wait until many rows have come together.

Such layers hold most parameters of a U-Net and little of its activations. A product with a large
query matrix reads all of that matrix however few the rows are, so it is worth waiting for more.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.contributions import Joined, OuterProducts


class Deferring:
    """Passes everything on to a consumer, some of it later.

    Args:
        consumer: Who takes it in the end.
        bytes_per_row: What a layer's activations may take per row, to be kept.
    """

    def __init__(self, consumer: Consumer, positions: int) -> None:
        self._consumer, self._positions = consumer, positions
        self._kept: dict[tuple[int, int], list[tuple[slice, OuterProducts]]] = {}

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._consumer.block(rows, columns, block)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        if products.positions <= self._positions:
            self._kept.setdefault((columns.start, columns.stop), []).append((rows, products))
        else:
            self._consumer.outer(rows, columns, products)

    def flush(self) -> None:
        """Pass on what was kept."""
        for (start, stop), kept in self._kept.items():
            places, parts = zip(*kept, strict=True)
            consecutive = all(a.stop == b.start for a, b in pairwise(places))
            alike = all(part.positions == parts[0].positions for part in parts)
            if consecutive and alike:
                kept = [(slice(places[0].start, places[-1].stop), Joined(parts))]
            for rows, products in kept:
                self._consumer.outer(rows, slice(start, stop), products)
        self._kept.clear()
