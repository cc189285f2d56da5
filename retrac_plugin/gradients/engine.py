"""What every gradient engine offers, whatever it does inside.

An engine turns batches of per-sample losses into per-*row* gradients. A row is the mean of some
consecutive losses of a batch: on the query side the noise draws of one (query, timestep), on the
train side the draws of one training sample. The mean of the gradients is the gradient of the mean,
so a row costs one backward pass however many draws it has.

Rows are flat vectors of one length ``width``. Their layout is the engine's own affair: only vectors
that came from engines of the same kind, over parameters of the same names and shapes, may be
compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

Batch = Any
"""A pytree of tensors whose first dimension is the sample, opaque to the engines."""

Parameters = Mapping[str, Tensor]
"""The attributed parameters by name; every other tensor of the model is fixed inside the loss."""

LossFunction = Callable[[Parameters, Batch], Tensor]
"""``(parameters, batch) -> losses [sample]``, each depending on its own sample alone."""


class RowGradients(NamedTuple):
    """Whole gradients of a few rows."""

    losses: Tensor
    """``[row, draw]``."""
    gradients: Tensor
    """``[row, width]``."""


class Products(NamedTuple):
    """What is known of the rows of one batch once their gradients are gone."""

    losses: Tensor
    """``[row, draw]``."""
    dots: Tensor
    """``[row, vector]``: inner products with the vectors that were asked for."""
    norms: Tensor
    """``[row]``: Euclidean norm of each row's gradient over all attributed parameters together."""


class Features(NamedTuple):
    """What is kept of the rows of one batch to be compared with any others later."""

    losses: Tensor
    """``[row, draw]``."""
    features: Tensor
    """``[row, dimension]``: inner products of features are those of gradients, on average."""
    norms: Tensor
    """``[row]``: norm of each row's gradient, as well as the projection knows it."""


class GradientEngine(Protocol):
    """Per-sample gradients of one model at one checkpoint."""

    width: int

    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """Return the gradient of every row of ``batch``.

        Args:
            batch: ``row * draw`` samples, the draws of a row side by side.
            draws: How many consecutive losses are averaged into one row.
        """

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """Yield, batch by batch and in order, inner products and norms; no gradient is kept.

        Args:
            batches: Batches as in ``gradients``, read lazily.
            draws: How many consecutive losses are averaged into one row.
            vectors: ``[vector, width]``, or ``[0, width]`` for the norms alone.
        """

    def fallbacks(self) -> dict[str, str]:
        """Return the parameters for which there was no layer rule, with the reason, by name.

        Known once a batch has passed.
        """


class EngineFactory(Protocol):
    """Makes an engine for one checkpoint's parameters."""

    def __call__(
        self, losses: LossFunction, parameters: Parameters, scales: Parameters | None = None
    ) -> GradientEngine:
        """Return the engine.

        Args:
            losses: The per-sample losses as a function of the attributed parameters.
            parameters: The attributed parameters.
            scales: Where given, what every gradient is multiplied with, by parameter and shaped as
                it: rows and norms are those of the scaled gradients.
        """
