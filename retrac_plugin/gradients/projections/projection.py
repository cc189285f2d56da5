"""What a projection must provide."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.layout import Layout


class FeatureConsumer(Consumer, Protocol):
    """Makes the features of some rows.

    Attributes:
        features: ``[row, dimension]``.
    """

    features: Tensor

    def norms(self) -> Tensor:
        """Return the norm of every row's gradient, ``[row]``, as well as it is known."""


class PreparedProjection(Protocol):
    """A projection with its random numbers drawn."""

    dimension: int

    def consumer(self, rows: int) -> FeatureConsumer:
        """Return what makes the features of so many rows."""


class Projection(Protocol):
    """A random linear map of rows that keeps inner products on average; a value, with a seed."""

    def prepare(self, layout: Layout, like: Tensor) -> PreparedProjection:
        """Draw the random numbers for rows of a layout, of the type and on the device of ``like``.

        They depend on the seed and the layout alone.
        """
