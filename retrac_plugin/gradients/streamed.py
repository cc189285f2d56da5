"""The engine: per-sample gradients at about the price of a training step.

One batched forward and backward pass; at each layer the gradients of all rows are made from the
layer's inputs and output gradients, piece by piece, used while they are in the cache, and dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.utils._pytree import tree_leaves

from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.consumers.scaled import Scaled
from retrac_plugin.gradients.consumers.whole import Rows
from retrac_plugin.gradients.engine import (
    Batch,
    Features,
    LossFunction,
    Parameters,
    Products,
    RowGradients,
)
from retrac_plugin.gradients.projections import Projection
from retrac_plugin.gradients.selfcheck import SAMPLES, check
from retrac_plugin.gradients.streamer import Streamer
from retrac_plugin.gradients.windows import Window


class StreamedEngine:
    """Per-row gradients by layer rules, with ``vmap(grad)`` for what has no rule.

    On first use two samples are compared with plain autograd, see ``selfcheck``.

    Args:
        losses: The per-sample losses as a function of the attributed parameters.
        parameters: The attributed parameters.
        scales: Where given, what every gradient is multiplied with, by parameter.

    Attributes:
        width: Length of a row.
    """

    def __init__(
        self, losses: LossFunction, parameters: Parameters, scales: Parameters | None = None
    ) -> None:
        self._streamer = Streamer(losses, parameters)
        self.width = self._streamer.layout.width
        self._scale = None if scales is None else self._row(scales)
        self._checked = 0

    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """See ``GradientEngine.gradients``."""
        self._check(batch)
        rows = _num_samples(batch) // draws
        consumer = Rows(rows, self.width, self._streamer.like)
        losses = self._stream(batch, draws, consumer, slice(0, rows))
        return RowGradients(losses, consumer.gradients)

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """See ``GradientEngine.products``."""
        window: Window | None = None
        for batch in batches:
            self._check(batch)
            rows = _num_samples(batch) // draws
            if window is not None and not window.has_room(rows):
                yield from window.finish()
                window = None
            window = window or Window(vectors, rows)
            place = window.place(rows)
            window.note(self._stream(batch, draws, window.consumer, place))
            if not window.has_room(1):
                yield from window.finish()
                window = None
        if window is not None:
            yield from window.finish()

    def features(
        self, batches: Iterable[Batch], draws: int, projection: Projection
    ) -> Iterator[Features]:
        """Yield, batch by batch and in order, projected gradients.

        Args:
            batches: Batches as in ``gradients``, read lazily.
            draws: How many consecutive losses are averaged into one row.
            projection: How to project; a value, equal for all rows that are to be compared.
        """
        prepared = projection.prepare(self._streamer.layout, self._streamer.like)
        for batch in batches:
            self._check(batch)
            rows = _num_samples(batch) // draws
            consumer = prepared.consumer(rows)
            losses = self._stream(batch, draws, consumer, slice(0, rows))
            yield Features(losses, consumer.features, consumer.norms())

    def fallbacks(self) -> dict[str, str]:
        """See ``GradientEngine.fallbacks``; these parameters take ``vmap(grad)``."""
        return dict(self._streamer.fallbacks)

    def _stream(self, batch: Batch, draws: int, consumer: Consumer, rows: slice) -> Tensor:
        if self._scale is not None:
            consumer = Scaled(consumer, self._scale)
        return self._streamer.stream(batch, draws, consumer, rows)

    def _row(self, values: Parameters) -> Tensor:
        """Return one value for each column of a row, ``[width]``."""
        named = {name: values[name][None] for name in self._streamer.parameters}
        return self._streamer.layout.flatten(named)[0].to(self._streamer.like)

    def _check(self, batch: Batch) -> None:
        """Compare with autograd once; again if the first batch held a single sample."""
        if self._checked < min(SAMPLES, _num_samples(batch)):
            self._checked = max(self._checked, check(self._streamer, batch))


def _num_samples(batch: Batch) -> int:
    num_samples: int = tree_leaves(batch)[0].shape[0]
    return num_samples
