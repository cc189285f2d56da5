"""How large the pieces are in which gradients pass by: what suits a processor does not suit a GPU.

A processor is fast on what is in its cache. A GPU is fast on what is large, since each operation
costs it a launch however little there is to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Laying = Callable[[Tensor, tuple[int, int, int, int]], tuple[Tensor, list[Tensor]]]
"""``(space, size) -> (views [offset, row, out, in], blocks [row, column])`` of one memory.

``size`` is that of the views, one for each kernel offset; the blocks are neighbours in a row."""


def _apart(space: Tensor, size: tuple[int, int, int, int]) -> tuple[Tensor, list[Tensor]]:
    """Lay each kernel offset's block by itself."""
    blocks = space.view(size)
    return blocks, [block.flatten(1) for block in blocks]


def _side_by_side(space: Tensor, size: tuple[int, int, int, int]) -> tuple[Tensor, list[Tensor]]:
    """Lay the blocks of all offsets side by side, as one."""
    offsets, rows, num_out, num_in = size
    whole = space.view(rows, offsets, num_out, num_in)
    return whole.transpose(0, 1), [whole.flatten(1)]


@dataclass(frozen=True)
class Cut:
    """How a device wants its work cut.

    Attributes:
        block: Numbers of a block.
        together: Numbers of the blocks of several kernel offsets that are made together.
        cache: Numbers that stay in the cache; None where nothing is gained by going row by row.
        stretch: Positions to multiply at a time.
        laps: Of a count-sketch, to add at a time.
        lay: Where the blocks of several offsets lie.
    """

    block: int
    together: int
    cache: int | None
    stretch: int
    laps: int
    lay: Laying


IN_CACHE = Cut(2**19, 2**21, cache=2**19, stretch=4096, laps=1, lay=_apart)
"""Small enough to stay in a processor's cache until it has been consumed."""

LARGE = Cut(2**23, 2**23, cache=None, stretch=2**31, laps=2**31, lay=_side_by_side)
"""32 MiB of float32: few launches, and little beside the activations of a batch."""


def cut_for(device: torch.device) -> Cut:
    """Return how a device wants its work cut."""
    return IN_CACHE if device.type == "cpu" else LARGE
