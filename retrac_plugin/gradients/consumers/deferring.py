"""Layers with many parameters and few activations wait until many rows have come together.

A product with the vectors reads all of their columns however few the rows are, so where the vectors
are many and the batches small, most of the time would go into reading.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.contributions import Joined, OuterProducts

_SHARE = 8
"""Only layers whose activations in a row are this much smaller than their weight may wait."""


class Deferring:
    """Passes everything on to a consumer, some of it later.

    What waits takes, per row, at most an eighth of the memory of one vector.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._waiting: dict[tuple[int, int], list[tuple[slice, OuterProducts]]] = {}

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._consumer.block(rows, columns, block)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        kernel, num_out, num_in = products.shape
        if _SHARE * products.positions * (num_out + num_in) <= kernel * num_out * num_in:
            self._waiting.setdefault((columns.start, columns.stop), []).append((rows, products))
        else:
            self._consumer.outer(rows, columns, products)

    def flush(self) -> None:
        """Pass on what waits."""
        for (start, stop), waiting in self._waiting.items():
            places, parts = zip(*waiting, strict=True)
            consecutive = all(a.stop == b.start for a, b in pairwise(places))
            alike = all(part.positions == parts[0].positions for part in parts)
            if consecutive and alike:
                waiting = [(slice(places[0].start, places[-1].stop), Joined(parts))]
            for rows, products in waiting:
                self._consumer.outer(rows, slice(start, stop), products)
        self._waiting.clear()
