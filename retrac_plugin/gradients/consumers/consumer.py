"""What a consumer of gradients must take."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from retrac_plugin.gradients.contributions import Contribution, OuterProducts


class Consumer(Protocol):
    """Takes the gradients of some rows piece by piece; every column of a row at most once."""

    def block(self, rows: slice, columns: slice, block: Tensor) -> None:
        """Take a piece, ``[row, column]``; it may be overwritten once this has returned."""

    def outer(self, rows: slice, columns: slice, products: OuterProducts) -> None:
        """Take a weight's whole gradient as the outer products that it is a sum of."""


def stream(consumer: Consumer, rows: slice, columns: slice, contribution: Contribution) -> None:
    """Hand a contribution to one parameter to a consumer, block by block."""
    for first, block in contribution.blocks():
        start = columns.start + first
        consumer.block(rows, slice(start, start + block.shape[1]), block)
