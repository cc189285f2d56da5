"""What one call of a layer adds to the gradient of one of its parameters, row by row."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Protocol

import torch
from torch import Tensor

from retrac_plugin.gradients.cutting import Cut, cut_for
from retrac_plugin.gradients.layout import flat


class Contribution(Protocol):
    """Part of a parameter's gradient in every row, or all of it."""

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(first column, block [row, column])``, columns counted within the parameter.

        Each column at most once; absent ones are zero. A block may be overwritten by the next.
        """


@dataclass(frozen=True, eq=False)
class Dense:
    """A gradient that is there as a whole, ``[row, *shape]``."""

    gradient: Tensor

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """See ``Contribution.blocks``."""
        yield 0, flat(self.gradient)


class OuterProducts(ABC):
    """A weight's gradient as a sum over positions of outer products.

    ``G[row, kernel, out, in] = sum_p grads[row, p, out] * patches[kernel][row, p, in]``: one
    position for a linear layer without a sequence, the pixels of the output for a convolution.

    Attributes:
        rows: Number of rows.
        positions: Positions in a row that carry a gradient.
        shape: ``(kernel, out, in)``, the kernel's dimensions taken together.
    """

    rows: int
    positions: int
    shape: tuple[int, int, int]

    @abstractmethod
    def grads(self) -> Tensor:
        """Return the gradients of the layer's output, ``[row, position, out]``."""

    @abstractmethod
    def patches(self) -> Iterator[Tensor]:
        """Yield, kernel offset by kernel offset, what met the weight, ``[row, position, in]``."""

    @abstractmethod
    def projected(self, outward: Tensor, inward: Tensor) -> Tensor:
        """Return ``outward @ G @ inward^T`` summed over the kernel, ``[row, k_out, k_in]``.

        Args:
            outward: ``[k_out, out]``.
            inward: ``[k_in, *weight.shape[1:]]``.
        """

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """See ``Contribution.blocks``."""
        grads, patches = self.grads().transpose(1, 2), self.patches()
        cut = cut_for(grads.device)
        kernel, num_out, num_in = self.shape
        together, step = self._piece(cut)
        space = grads.new_empty(together * self.rows * step * num_in)
        for first in range(0, kernel, together):
            offsets = list(islice(patches, together))
            for start in range(0, num_out, step):
                some = grads[:, start : start + step]
                size = (len(offsets), self.rows, some.shape[1], num_in)
                by_offset, blocks = cut.lay(space[: math.prod(size)], size)
                self._multiply(some, offsets, by_offset, cut)
                column = (first * num_out + start) * num_in
                for block in blocks:
                    yield column, block
                    column += num_out * num_in

    def _piece(self, cut: Cut) -> tuple[int, int]:
        """Return for how many kernel offsets and outputs to make the gradient at a time."""
        kernel, num_out, num_in = self.shape
        together = min(kernel, cut.together // (self.rows * num_out * num_in))
        if together > 1 and (cut.cache is None or self._rows_at_once(cut) < self.rows):
            return together, num_out
        return 1, _even_step(num_out, max(1, cut.block // (self.rows * num_in)))

    def _rows_at_once(self, cut: Cut) -> int:
        """Return for how many rows both sides stay in the cache from one offset to the next."""
        if cut.cache is None:
            return self.rows
        return max(1, cut.cache // (self.positions * sum(self.shape[1:])))

    def _multiply(self, grads: Tensor, patches: list[Tensor], blocks: Tensor, cut: Cut) -> None:
        """Fill ``blocks [kernel, row, out, in]``, from what is in the cache as long as it is."""
        step = self._rows_at_once(cut)
        firsts = range(0, grads.shape[2], cut.stretch)
        for row, first in product(range(0, self.rows, step), firsts):
            rows, here = slice(row, row + step), slice(first, first + cut.stretch)
            keep = 0 if first == 0 else 1
            for patch, block in zip(patches, blocks, strict=True):
                block[rows].baddbmm_(grads[rows, :, here], patch[rows, here], beta=keep)

    def norms(self) -> Tensor:
        """Return the norm of every row without forming it, ``[row]``.

        ``||G||^2 = sum_pq <grads_p, grads_q> sum_kernel <patches_p, patches_q>``.
        """
        grads = self.grads()
        gram = sum(torch.bmm(patch, patch.transpose(1, 2)) for patch in self.patches())
        return (torch.bmm(grads, grads.transpose(1, 2)) * gram).sum((1, 2)).clamp(min=0).sqrt()


class Joined(OuterProducts):
    """The same layer's outer products in consecutive rows, taken together."""

    def __init__(self, parts: Sequence[OuterProducts]) -> None:
        self.parts = parts
        self.rows = sum(part.rows for part in parts)
        self.positions, self.shape = parts[0].positions, parts[0].shape

    def grads(self) -> Tensor:
        """See ``OuterProducts.grads``."""
        return torch.cat([part.grads() for part in self.parts])

    def patches(self) -> Iterator[Tensor]:
        """See ``OuterProducts.patches``."""
        for at_offset in zip(*(part.patches() for part in self.parts), strict=True):
            yield torch.cat(at_offset)

    def projected(self, outward: Tensor, inward: Tensor) -> Tensor:
        """See ``OuterProducts.projected``."""
        return torch.cat([part.projected(outward, inward) for part in self.parts])


def _even_step(total: int, at_most: int) -> int:
    """Return the step that cuts ``total`` into as few and as even pieces as possible."""
    pieces = -(-total // min(total, at_most))
    return -(-total // pieces)
