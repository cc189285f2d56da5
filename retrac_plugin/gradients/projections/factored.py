"""The factored projection: the cheap one.

A weight's gradient ``G`` is a sum over positions of outer products. Both sides of each are
projected to few numbers, and ``P_out G P_in^T`` is the sum of the outer products of those: ``G``
itself is never formed, nor does its cost arise. It is unbiased: features of ``G`` and ``H`` have
the inner product ``<G, H>`` on average; for outer products ``a b^T`` and ``c d^T`` its square is
on average

``(<a, c>^2 + (|a|^2 |c|^2 + <a, c>^2) / k) * (<b, d>^2 + (|b|^2 |d|^2 + <b, d>^2) / k)``,

so the error falls more slowly with the number of features ``k^2`` than the count-sketch's. Choe et
al., "What is Your Data Worth to GPT?", 2024 (LoGra).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.gradients.contributions import OuterProducts
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.projections.count_sketch import CountSketch, PreparedSketch
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.randomness import normal


@dataclass(frozen=True)
class Factored:
    """``side * side`` features of each large weight, and a sketch of all small parameters.

    Norms are those of the features, and so as approximate as they are.

    Args:
        side: Numbers that each side of a weight is projected to.
        small: Dimension of the sketch of the small parameters.
        seed: Other seeds give other projections.
    """

    side: int = 8
    small: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side < 1 or self.small < 1:
            raise InputError(f"side and small must be at least 1, got {self.side}, {self.small}")

    def prepare(self, layout: Layout, like: Tensor) -> PreparedFactors:
        """See ``Projection.prepare``."""
        sketch = CountSketch(self.small, self.seed).prepare(layout, like)
        start, weights = self.small, []
        for name in layout.large:
            weight = self._weight(layout, name, start, like)
            start = weight.place.stop
            weights.append(weight)
        return PreparedFactors(sketch, weights, start, like)

    def _weight(self, layout: Layout, name: str, start: int, like: Tensor) -> _Weight:
        columns, (num_out, *rest) = layout.columns[name], layout.shapes[name]
        outward = self._matrix((self.seed, columns.start, 0), num_out)
        inward = self._matrix((self.seed, columns.start, 1), math.prod(rest))
        place = slice(start, start + len(outward) * len(inward))
        return _Weight(columns, place, outward.to(like), inward.view(-1, *rest).to(like))

    def _matrix(self, key: tuple[int, ...], size: int) -> Tensor:
        """Return ``[side, size]`` with ``E P^T P = 1``; what is short already stays as it is."""
        if size <= self.side:
            return torch.eye(size)
        drawn: Tensor = normal([key], (self.side, size))[0] / self.side**0.5
        return drawn


@dataclass(frozen=True, eq=False)
class _Weight:
    """A large parameter's place among columns and among features, and its projections."""

    columns: slice
    place: slice
    outward: Tensor
    """``[k_out, out]``"""
    inward: Tensor
    """``[k_in, *shape[1:]]``"""

    def projected(self, first: int, block: Tensor) -> Tensor:
        """Return the features of a piece of the gradient, ``[row, feature]``.

        Args:
            first: The piece's first column, within the parameter.
            block: ``[row, column]``, whole lines of inputs.
        """
        total = block.new_zeros(len(block), len(self.outward), len(self.inward))
        for outputs, inward, piece in self._planes(first, block):
            total += self.outward[:, outputs] @ piece @ inward.T
        return total.flatten(1)

    def _planes(self, first: int, block: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Cut a piece at kernel offsets: yield outputs, ``[k_in, in]``, ``[row, output, in]``."""
        num_in = self.inward.shape[1] if self.inward.dim() > 1 else 1
        by_offset = self.inward.reshape(len(self.inward), num_in, -1)
        plane = self.outward.shape[1] * num_in
        stop = first + block.shape[1]
        for offset in range(first // plane, -(-stop // plane)):
            low, high = max(first, offset * plane), min(stop, (offset + 1) * plane)
            outputs = slice((low - offset * plane) // num_in, (high - offset * plane) // num_in)
            piece = block[:, low - first : high - first].view(len(block), -1, num_in)
            yield outputs, by_offset[:, :, offset], piece


class PreparedFactors:
    """The projections of all large parameters."""

    def __init__(
        self, sketch: PreparedSketch, weights: list[_Weight], dimension: int, like: Tensor
    ) -> None:
        self.sketch, self.dimension, self._like = sketch, dimension, like
        self.weights = {weight.columns.start: weight for weight in weights}
        self.large = weights[-1].columns.stop if weights else 0

    def consumer(self, rows: int) -> FactorConsumer:
        """See ``PreparedProjection.consumer``."""
        return FactorConsumer(self, rows, self._like)

    def weight_at(self, column: int) -> _Weight:
        """Return the large parameter that a column belongs to."""
        return self.weights[max(start for start in self.weights if start <= column)]


class FactorConsumer:
    """Projects outer products without forming them, and whatever comes as a block."""

    def __init__(self, factors: PreparedFactors, rows: int, like: Tensor) -> None:
        self._factors = factors
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.features = like.new_zeros(rows, factors.dimension, dtype=dtype)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        if columns.start >= self._factors.large:
            sketch = self._factors.sketch
            sketch.add(self.features[rows, : sketch.dimension], columns.start, block)
        else:
            weight = self._factors.weight_at(columns.start)
            part = weight.projected(columns.start - weight.columns.start, block)
            self.features[rows, weight.place].add_(part)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        weight = self._factors.weights[columns.start]
        part = products.projected(weight.outward, weight.inward).flatten(1)
        self.features[rows, weight.place].add_(part)

    def norms(self) -> Tensor:
        """Return the norms of the features, ``[row]``."""
        return row_norms(self.features)
