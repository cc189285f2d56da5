"""A count-sketch of each group of layers, side by side: so that groups can be told apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import stream
from retrac_plugin.gradients.consumers.norms import Norms
from retrac_plugin.gradients.contributions import OuterProducts
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.projections.count_sketch import CountSketch, PreparedSketch


def group_of(name: str) -> str:
    """Return the group of a parameter: its name up to the first number, or its first part.

    ``up_blocks.1`` of ``up_blocks.1.resnets.0.conv1.weight``, ``conv_in`` of ``conv_in.bias``.
    """
    parts = name.split(".")
    numbered = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbered[0] + 1]) if numbered else parts[0]


def groups_of(names: Iterable[str]) -> list[str]:
    """Return the groups of some parameters, in the order in which they come."""
    return list(dict.fromkeys(map(group_of, names)))


@dataclass(frozen=True)
class ByLayer:
    """Features of each group of layers, ``each.dimension`` numbers a group.

    Norms are exact, of all groups together.

    Args:
        each: The sketch of a group.
    """

    each: CountSketch = field(default_factory=lambda: CountSketch(512))

    def prepare(self, layout: Layout, like: Tensor) -> PreparedByLayer:
        """See ``Projection.prepare``."""
        places = {group: place for place, group in enumerate(groups_of(layout.shapes))}
        runs = [(own.start, own.stop, places[group_of(n)]) for n, own in layout.columns.items()]
        return PreparedByLayer(self.each.prepare(layout, like), runs, len(places), like)


class PreparedByLayer:
    """The sketch, and which columns are of which group."""

    def __init__(
        self, sketch: PreparedSketch, runs: list[tuple[int, int, int]], groups: int, like: Tensor
    ) -> None:
        self.sketch, self.runs, self._like = sketch, runs, like
        self.dimension = groups * sketch.dimension

    def consumer(self, rows: int) -> LayersConsumer:
        """See ``PreparedProjection.consumer``."""
        return LayersConsumer(self, rows, self._like)


class LayersConsumer:
    """Sketches blocks as they pass by, each parameter's into its group's place."""

    def __init__(self, prepared: PreparedByLayer, rows: int, like: Tensor) -> None:
        self._prepared, self._norms = prepared, Norms(rows, like)
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.features = like.new_zeros(rows, prepared.dimension, dtype=dtype)

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """See ``Consumer.block``."""
        self._norms.block(rows, columns, block)
        sketch, first, last = self._prepared.sketch, columns.start, columns.start + block.shape[1]
        for start, stop, group in self._prepared.runs:
            low, high = max(start, first), min(stop, last)
            if low < high:
                place = slice(group * sketch.dimension, (group + 1) * sketch.dimension)
                own = block[:, low - first : high - first]
                sketch.add(self.features[rows, place], low, own)

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """See ``Consumer.outer``."""
        stream(self, rows, columns, products)

    def norms(self) -> Tensor:
        """Return the exact norms, ``[row]``."""
        return self._norms.norms()
