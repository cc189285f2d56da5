"""The engine: per-sample gradients at about the price of a training step.

One batched forward and backward pass; at each layer the gradients of all rows are made from the
layer's inputs and output gradients, piece by piece, used while they are in the cache, and dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

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
from retrac_plugin.gradients.full_precision import full_precision
from retrac_plugin.gradients.losses import as_losses, ordinary
from retrac_plugin.gradients.projections import Projection
from retrac_plugin.gradients.selfcheck import SAMPLES, check, compare_with_batch
from retrac_plugin.gradients.streamer import Streamer
from retrac_plugin.gradients.surroundings import computing, within
from retrac_plugin.gradients.windows import Window


class StreamedEngine:
    """Per-row gradients by layer rules, with ``vmap(grad)`` or autograd for what has no rule.

    The first batch of each side is compared with plain autograd, see ``selfcheck``.

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
        self._streamer = Streamer(*as_losses(losses, parameters))
        self.width = self._streamer.layout.width
        self._scale = None if scales is None else self._row(scales)
        self._checked: dict[tuple[str, int], int] = {}

    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """See ``GradientEngine.gradients``."""
        with self._computing():
            batch = ordinary_batch(batch)
            rows = _num_samples(batch) // draws
            consumer = Rows(rows, self.width, self._streamer.like)
            losses = self._stream("gradients", batch, draws, consumer, slice(0, rows))
            return RowGradients(losses, consumer.gradients)

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """See ``GradientEngine.products``."""
        return within(self._computing, self._products(map(ordinary_batch, batches), draws, vectors))

    def _products(
        self, batches: Iterable[Batch], draws: int, vectors: Tensor
    ) -> Iterator[Products]:
        window: Window | None = None
        for batch in batches:
            rows = _num_samples(batch) // draws
            if window is not None and not window.has_room(rows):
                yield from window.finish()
                window = None
            window = window or Window(vectors, rows)
            place = window.place(rows)
            window.note(self._stream("products", batch, draws, window.consumer, place))
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
        projected = self._features(map(ordinary_batch, batches), draws, projection)
        return within(self._computing, projected)

    def _features(
        self, batches: Iterable[Batch], draws: int, projection: Projection
    ) -> Iterator[Features]:
        prepared = projection.prepare(self._streamer.layout, self._streamer.like)
        for batch in batches:
            rows = _num_samples(batch) // draws
            consumer = prepared.consumer(rows)
            losses = self._stream("features", batch, draws, consumer, slice(0, rows))
            yield Features(losses, consumer.features, consumer.norms())

    def fallbacks(self) -> dict[str, str]:
        """See ``GradientEngine.fallbacks``; these take ``vmap(grad)``, or are told to be slower."""
        return self._streamer.fallbacks.report()

    def _stream(
        self, side: str, batch: Batch, draws: int, consumer: Consumer, rows: slice
    ) -> Tensor:
        """Stream a batch; the first one of each side is checked, and rounds no product."""
        if self._scale is not None:
            consumer = Scaled(consumer, self._scale)
        key = (side, draws)
        if self._checked.get(key, 0) >= min(SAMPLES, _num_samples(batch)):
            return self._streamer.stream(batch, draws, consumer, rows)
        with full_precision():
            checked = check(self._streamer, batch)
            # A first batch may hold a single sample: then the next is checked too.
            self._checked[key] = max(self._checked.get(key, 0), checked.samples)
            losses = self._streamer.stream(batch, draws, consumer, rows)
            compare_with_batch(self._streamer, batch, losses.flatten(), checked)
        return losses

    def _row(self, values: Parameters) -> Tensor:
        """Return one value for each column of a row, ``[width]``."""
        named = {name: values[name][None] for name in self._streamer.parameters}
        return self._streamer.layout.flatten(named)[0].to(self._streamer.like)

    def _computing(self) -> AbstractContextManager[object]:
        return computing(self._streamer.like.device)


def ordinary_batch(batch: Batch) -> Batch:
    """Return a batch that autograd takes, also where it was made in inference mode."""
    return tree_map(ordinary, batch)


def _num_samples(batch: Batch) -> int:
    num_samples: int = tree_leaves(batch)[0].shape[0]
    return num_samples
