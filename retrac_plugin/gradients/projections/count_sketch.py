"""The count-sketch: the accurate projection.

``S x[j] = sum over i with i mod d = j of s_i x_i``, with random signs ``s``. It is unbiased,
``E <S x, S y> = <x, y>``, with the variance

``sum over i != k in one bucket of (x_i^2 y_k^2 + x_i y_i x_k y_k)``,

about ``(|x|^2 |y|^2 + <x, y>^2) / d`` where no coordinate dominates: as good as a dense random
projection, at the cost of one addition per element, and no matrix is stored. Charikar, Chen and
Farach-Colton, "Finding Frequent Items in Data Streams", 2002.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.consumers.norms import Norms
from retrac_plugin.gradients.contributions import OuterProducts
from retrac_plugin.gradients.cutting import cut_for
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.randomness import uniforms


@dataclass(frozen=True)
class CountSketch:
    """Features of one fixed dimension, with exact norms beside them.

    Args:
        dimension: Numbers per row.
        seed: Other seeds give other signs.
    """

    dimension: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise InputError(f"dimension must be at least 1, got {self.dimension}")

    def prepare(self, layout: Layout, like: Tensor) -> PreparedSketch:
        """See ``Projection.prepare``."""
        signs = torch.empty(layout.width, dtype=torch.int8)
        for columns in layout.columns.values():  # parameter by parameter, to draw few at a time
            coins = uniforms([(self.seed, columns.start)], columns.stop - columns.start)[0] < 0.5
            signs[columns] = 1 - 2 * coins.to(torch.int8)
        return PreparedSketch(signs.to(like.device), self.dimension, like)


class PreparedSketch:
    """A count-sketch of ``width`` columns; holds one byte for each."""

    def __init__(self, signs: Tensor, dimension: int, like: Tensor) -> None:
        self.signs, self.dimension, self._like = signs, dimension, like

    def consumer(self, rows: int) -> SketchConsumer:
        """See ``PreparedProjection.consumer``."""
        return SketchConsumer(self, rows, self._like)

    def add(self, features: Tensor, first: int, block: Tensor) -> None:
        """Add the sketch of columns ``first, first + 1, ...`` to ``features [row, dimension]``."""
        signs = self.signs[first : first + block.shape[1]].to(features.dtype)
        most, done = cut_for(block.device).laps, 0
        while done < block.shape[1]:  # lap by lap, or several whole ones together
            start, left = (first + done) % self.dimension, block.shape[1] - done
            laps = min(most, left // self.dimension) if start == 0 else 0
            size = laps * self.dimension or min(self.dimension - start, left)
            piece = slice(done, done + size)
            if laps > 1:
                signed = block[:, piece] * signs[piece]
                features.add_(signed.view(len(block), laps, self.dimension).sum(1))
            else:
                features[:, start : start + size].addcmul_(block[:, piece], signs[piece])
            done += size


class SketchConsumer:
    """Sketches blocks as they pass by."""

    def __init__(self, sketch: PreparedSketch, rows: int, like: Tensor) -> None:
        self._sketch, self._norms = sketch, Norms(rows, like)
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.features = like.new_zeros(rows, sketch.dimension, dtype=dtype)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._norms.block(rows, columns, block)
        self._sketch.add(self.features[rows], columns.start, block)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)

    def norms(self) -> Tensor:
        """Return the exact norms, ``[row]``."""
        return self._norms.norms()
