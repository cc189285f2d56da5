"""Finds a way to the right gradient of every parameter: a rule, ``vmap(grad)``, or autograd."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.comparison import wrong_gradients
from retrac_plugin.gradients.consumers.weighted_sum import WeightedSum
from retrac_plugin.gradients.engine import Batch
from retrac_plugin.gradients.fallbacks import first_line
from retrac_plugin.gradients.streamer import Streamer

_WEIGHTS = (1.0, 0.5)
"""Unequal, so that exchanging, averaging or merging the two samples would show."""


def find_ways(streamer: Streamer, batch: Batch, gradients: list[dict[str, Tensor]]) -> None:
    """Move parameters whose streamed gradients are wrong to what stands behind the rules.

    Args:
        streamer: What streams.
        batch: One or two samples.
        gradients: The right gradient of each, by name.

    Raises:
        GradientError: If no way gives the right gradient.
    """
    weights = torch.tensor(_WEIGHTS[: len(gradients)]).to(streamer.like)
    expected = {
        name: sum(w * each[name] for w, each in zip(weights, gradients, strict=True))
        for name in streamer.parameters
    }
    fallbacks = streamer.fallbacks
    while True:
        total = WeightedSum(weights, streamer.layout.width)
        _stream(streamer, batch, total, len(weights))
        by_name = streamer.layout.unflatten(total.total[None])
        wrong = wrong_gradients({n: value[0] for n, value in by_name.items()}, expected)
        if not wrong:
            return
        known = {name: error for name, error in wrong.items() if name in fallbacks.reasons}
        if known and fallbacks.row_by_row is not None:
            raise GradientError(
                f"the gradient of {next(iter(known))!r} comes out differently each time: expected "
                "a loss that depends on its own sample alone"
            )
        for name, error in known.items():
            fallbacks.give_up_vmap(f"vmap(grad) is off by {error:.1e} for {name!r}")
        for name, error in wrong.items():
            fallbacks.add([name], f"its rule is off by {error:.1e} of the gradient's norm")


def try_out(streamer: Streamer, batch: Batch) -> None:
    """Run a streamer in its own type, to see whether it can; what it gives is dropped."""
    samples = tree_leaves(batch)[0].shape[0]
    weights = torch.ones(samples).to(streamer.like)
    _stream(streamer, batch, WeightedSum(weights, streamer.layout.width), samples)


def _stream(streamer: Streamer, batch: Batch, total: WeightedSum, samples: int) -> None:
    try:
        streamer.stream(batch, 1, total, slice(0, samples))
    except Exception as error:  # whatever a backward pass may raise where rules take it over
        if streamer.fallbacks.reasons.keys() >= streamer.parameters.keys():
            raise
        reason = f"layer rules do not suit it: {first_line(error)}"
        streamer.fallbacks.add(streamer.parameters, reason)
        total.total.zero_()
        streamer.stream(batch, 1, total, slice(0, samples))
