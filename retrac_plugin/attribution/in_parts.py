"""A checkpoint's way past the training set, cut into parts that can be kept one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from retrac_plugin.attribution.keeping import Of, Tensors
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.windows import ENOUGH_ROWS

WINDOWS = 4
"""Windows of batches that are finished together; no cut lies within one, so none changes a sum."""


def in_parts(
    at: CheckpointPass,
    train: ExampleSource,
    draws: Draws,
    of: Of,
    make: Callable[[ExampleSource], Tensors],
) -> Iterator[Tensors]:
    """Yield what is made of the training set, some hundred samples at a time and in order.

    Args:
        at: The checkpoint.
        train: The training set.
        draws: Its timesteps and noise.
        of: What is made, beside the checkpoint, the samples and their draws.
        make: Makes it of some samples.
    """
    if not at.keep.keeps:
        yield make(train)
        return
    block = at.block_size(draws)
    at_once = WINDOWS * block * -(-ENOUGH_ROWS // block)
    for start in range(0, len(train), at_once):
        part = train.part(range(start, min(start + at_once, len(train))))
        decisive = (*at.identity, *of.decisive, draws, str(part.ids))
        found = at.keep.part(Of((train.data, *of.data), decisive), partial(make, part))
        if found.was_there:
            at.tick(len(part))
        yield {name: value.to(at.device) for name, value in found.tensors.items()}
