"""The input and the output's gradient of a convolution as matching lists of positions.

For every kernel offset, position ``p`` of the gradient met position ``p`` of the patches. Both ways
give the same sums; ``shifted`` copies nothing per offset, ``sliced`` serves every geometry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over its input; one number per spatial dimension."""

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes

    def offsets(self) -> Iterator[Sizes]:
        """Yield the places of the kernel in its own order, as distances on the padded input."""
        for index in product(*map(range, self.kernel)):
            yield tuple(i * d for i, d in zip(index, self.dilation, strict=True))


class Positions(NamedTuple):
    """A convolution's two sides."""

    grads: Tensor
    """``[row, position, out]``"""
    patches: Callable[[], Iterator[Tensor]]
    """Per kernel offset ``[row, position, in]``."""


def pair_up(inputs: Tensor, grad: Tensor, geometry: Geometry, rows: int) -> Positions:
    """Return the positions of a convolution in the cheaper way.

    Args:
        inputs: ``[sample, in, *size]``.
        grad: ``[sample, out, *size]``.
        geometry: How the kernel moved.
        rows: Rows that the samples make; a row's samples lie side by side.
    """
    if all(step == 1 for step in geometry.stride):
        stacked = _Stacked.of(inputs, grad, geometry, rows)
        pitch = _pitch(*stacked)
        if math.prod(pitch) <= _MOST_WASTE * math.prod(stacked.grad.shape[3:]):
            return _shifted(*stacked, pitch)
    return _sliced(inputs, grad, geometry, rows)


_MOST_WASTE = 1.3
"""Zero positions per real one up to which multiplying them costs less than copying the others."""


class _Stacked(NamedTuple):
    inputs: Tensor
    grad: Tensor
    geometry: Geometry

    @classmethod
    def of(cls, inputs: Tensor, grad: Tensor, geometry: Geometry, rows: int) -> _Stacked:
        """Return the samples of a row as one more dimension, over which the kernel is flat."""
        if inputs.shape[0] == rows:
            return cls(inputs, grad, geometry)
        inputs, grad = (v.view(rows, -1, *v.shape[1:]).transpose(1, 2) for v in (inputs, grad))
        return cls(
            inputs,
            grad,
            Geometry(
                kernel=(1, *geometry.kernel),
                stride=(1, *geometry.stride),
                padding=(0, *geometry.padding),
                dilation=(1, *geometry.dilation),
            ),
        )


def _pitch(inputs: Tensor, grad: Tensor, geometry: Geometry) -> Sizes:
    """Return how far apart lines lie: one gap of zeros is padding to both its neighbours."""
    padded = [s + p for s, p in zip(inputs.shape[3:], geometry.padding[1:], strict=True)]
    return tuple(max(size) for size in zip(padded, grad.shape[3:], strict=True))


def _shifted(inputs: Tensor, grad: Tensor, geometry: Geometry, pitch: Sizes) -> Positions:
    """Lay all positions on one axis, where a kernel offset is a shift."""
    steps = [math.prod(pitch[axis:]) for axis in range(len(pitch) + 1)]

    def distance(offset: Sizes) -> int:
        return sum(o * s for o, s in zip(offset, steps, strict=True))

    shifts = [distance(offset) for offset in geometry.offsets()]
    lead, count = distance(geometry.padding), grad.shape[2] * steps[0]
    length = max(shifts[-1] + count, lead + inputs.shape[2] * steps[0])
    line = _on_a_line(inputs, pitch, lead, length)
    return Positions(
        _on_a_line(grad, pitch, 0, count), lambda: (line[:, s : s + count] for s in shifts)
    )


def _on_a_line(values: Tensor, pitch: Sizes, lead: int, length: int) -> Tensor:
    """Return ``[sample, channel, *size]`` as ``[sample, length, channel]``, zeros in the gaps."""
    num, channels, first = values.shape[:3]
    sizes = values.shape[3:]
    count = first * math.prod(pitch)
    if sizes == pitch and length == count:
        return values.flatten(2).transpose(1, 2)
    if _is_channels_last(values):
        space = values.new_zeros(num, length, channels).transpose(1, 2)
    else:
        space = values.new_zeros(num, channels, length)
    grid = space[:, :, lead : lead + count].view(num, channels, first, *pitch)
    for axis, size in enumerate(sizes, start=3):
        grid = grid.narrow(axis, 0, size)
    grid.copy_(values)
    return space.transpose(1, 2)


def _sliced(inputs: Tensor, grad: Tensor, geometry: Geometry, rows: int) -> Positions:
    """Copy, per kernel offset, the part of the input that it met."""
    # Pairs from the last dimension to the first, the channels in front.
    margins = [0, 0] + [p for p in reversed(geometry.padding) for _ in range(2)]
    padded = functional.pad(inputs.movedim(1, -1), margins)
    spans = [(n - 1) * s + 1 for n, s in zip(grad.shape[2:], geometry.stride, strict=True)]

    def met_by(offset: Sizes) -> Tensor:
        window = [
            slice(o, o + span, s) for o, span, s in zip(offset, spans, geometry.stride, strict=True)
        ]
        return padded[(slice(None), *window)].reshape(rows, -1, inputs.shape[1])

    grads = grad.movedim(1, -1).reshape(rows, -1, grad.shape[1])
    return Positions(grads, lambda: map(met_by, geometry.offsets()))


def _is_channels_last(values: Tensor) -> bool:
    """Whether the channels ``[sample, channel, *size]`` are stored side by side."""
    return not values.is_contiguous() and values.movedim(1, -1).is_contiguous()
