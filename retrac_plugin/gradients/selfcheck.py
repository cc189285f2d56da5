"""Compares losses and streamed gradients with plain autograd before they are trusted.

In float32 or better, whatever the model's type, so that rounding hides nothing:

1. Some samples are run together and, two of them that differ as much as possible, by plain
   autograd one by one: the losses must be the same, and nothing may be drawn at random meanwhile.
2. The same weighted sum of these two samples' gradients must come out of the engine, parameter by
   parameter. That finds layers whose first dimension is not the sample.
3. The losses of the whole first batch must be those of 1. With 1, that finds samples that see each
   other, and networks whose output changes from run to run.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients import row_by_row
from retrac_plugin.gradients.chance import refusing_chance
from retrac_plugin.gradients.comparison import losses_agree
from retrac_plugin.gradients.engine import Batch
from retrac_plugin.gradients.fallbacks import first_line
from retrac_plugin.gradients.losses import is_narrow, widened
from retrac_plugin.gradients.row_by_row import pick
from retrac_plugin.gradients.streamer import Streamer
from retrac_plugin.gradients.ways import find_ways, try_out

SAMPLES = 2
"""Samples whose gradients are compared."""

PART = 8
"""Samples, spread over the first batch, whose losses are compared with those of the batch."""


class Checked(NamedTuple):
    """What a check leaves to be compared with the first batch itself."""

    samples: int
    """How many gradients were compared; 0 where none was finite."""
    places: Tensor | None = None
    """Of the samples that were run together in the batch; None: nothing is left to compare."""
    losses: Tensor | None = None
    """Theirs, ``[place]``."""


def check(streamer: Streamer, batch: Batch) -> Checked:
    """Move parameters whose streamed gradients are wrong to what stands behind the rules.

    Raises:
        GradientError: If samples see each other, chance, or earlier runs, or if no gradient reaches
            any parameter.
    """
    narrow = streamer.losses.narrow
    narrow |= any(map(is_narrow, (*streamer.parameters.values(), *tree_leaves(batch))))
    if not narrow:
        return _check(streamer, batch)
    try:
        checked = _check(streamer.widened(), widened(batch))
        _compare_halves(streamer.widened(), widened(batch))
    except Exception as error:  # a network may be written for its own type alone
        reason = f"it cannot be checked in float32: {first_line(error)}"
        streamer.fallbacks.add(streamer.parameters, reason)
        streamer.fallbacks.give_up_vmap(reason)
        checked = _check(streamer, batch)
    try_out(streamer, pick(batch, slice(0, SAMPLES)))
    return Checked(checked.samples)


def compare_with_batch(streamer: Streamer, batch: Batch, losses: Tensor, checked: Checked) -> None:
    """Compare the losses of a whole batch, ``[sample]``, with those of a check.

    Raises:
        GradientError: If they differ.
    """
    if checked.places is None or checked.losses is None:
        return
    found = losses[checked.places.to(losses.device)]
    if not losses_agree(found, checked.losses):
        part = pick(batch, checked.places)
        raise _entangled(streamer, part, found, checked.losses, f"in a batch of {len(losses)}")


def _check(streamer: Streamer, batch: Batch) -> Checked:
    places = _spread(tree_leaves(batch)[0].shape[0])
    part = pick(batch, places)
    losses = _losses(streamer, part)
    pair = _unlike(part, losses)
    if not len(pair) or not losses.any():  # samples that weigh nothing say nothing
        return Checked(0)
    two = pick(part, pair)
    try:
        with refusing_chance(streamer.like.device):
            alone, gradients = _one_by_one(streamer, two)
    except Exception:
        _run_alone(streamer, pick(two, slice(0, 1)))
        raise
    if not losses_agree(losses[pair], alone):
        raise _entangled(streamer, two, losses[pair], alone, f"among {len(losses)} samples")
    if not all(bool(g.isfinite().all()) for each in gradients for g in each.values()):
        return Checked(0)
    if not any(bool(g.any()) for each in gradients for g in each.values()):
        _refuse_zeros(streamer, batch)
    find_ways(streamer, two, gradients)
    return Checked(len(pair), places, losses)


def _spread(samples: int) -> Tensor:
    """Return places in a batch, evenly spread; half of a small batch, that there be a rest."""
    count = min(PART, max(SAMPLES, samples // 2), samples)
    return torch.arange(count) * (samples - 1) // max(1, count - 1)


def _unlike(part: Batch, losses: Tensor) -> Tensor:
    """Return the places of two samples that differ in as many of their tensors as possible."""
    usable = losses.isfinite().nonzero()[:, 0]
    telling = usable[losses[usable] != 0]  # one that weighs nothing says nothing
    places = telling if len(telling) >= SAMPLES else usable
    if len(places) < SAMPLES:
        return places
    others = places[1:]
    differing = torch.zeros_like(others)
    for leaf in tree_leaves(part):
        differing += (leaf[others] != leaf[places[0]]).reshape(len(others), -1).any(1)
    return torch.stack([places[0], others[differing.argmax()]])


def _losses(streamer: Streamer, batch: Batch) -> Tensor:
    """Return the losses of a batch run together, ``[sample]``, without any gradient."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checkpointed layers miss the gradient
        losses = streamer.losses(streamer.parameters, row_by_row.copied(batch))
    samples = tree_leaves(batch)[0].shape[0]
    if losses.shape != (samples,):
        raise GradientError(
            f"the losses have the shape {tuple(losses.shape)}, expected one for each of the "
            f"{samples} samples"
        )
    return losses


def _run_alone(streamer: Streamer, sample: Batch) -> None:
    """Refuse a network that ran some samples together and cannot run one."""
    try:
        _losses(streamer, sample)
    except Exception as error:
        raise GradientError(
            f"the network runs several samples together, but not one alone ({first_line(error)}): "
            "expected a loss that depends on its own sample alone. Is the network in evaluation "
            "mode?"
        ) from error


def _one_by_one(streamer: Streamer, batch: Batch) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Return each sample's loss alone, ``[sample]``, and its gradient by name."""
    found = [
        row_by_row.gradient(
            streamer.losses, streamer.parameters, streamer.parameters, pick(batch, slice(i, i + 1))
        )
        for i in range(tree_leaves(batch)[0].shape[0])
    ]
    return torch.cat([loss for loss, _ in found]), [gradients for _, gradients in found]


def _compare_halves(streamer: Streamer, batch: Batch) -> None:
    part = pick(batch, _spread(tree_leaves(batch)[0].shape[0]))
    together = _losses(streamer, part)
    half = pick(part, slice(0, None, 2))
    alone = _losses(streamer, half)
    if not losses_agree(together[::2], alone):
        where = f"among {len(together)} samples"
        raise _entangled(streamer, half, together[::2], alone, where)


def _refuse_zeros(streamer: Streamer, batch: Batch) -> None:
    """Refuse parameters that no gradient reaches from any sample of a batch."""
    names = list(streamer.parameters)
    _, gradients = row_by_row.gradient(streamer.losses, streamer.parameters, names, batch)
    if any(bool(gradient.any()) for gradient in gradients.values()):
        return
    raise GradientError(
        f"the gradient of all {len(names)} attributed parameters ({names[0]!r}, ...) is exactly 0 "
        "for every sample of the first batch, so every score would be 0: they have no part in the "
        "loss. An adapter that is fused or merged into its layer, or switched off, has none (for "
        "diffusers: network.unfuse_lora(), network.enable_adapters()); nor has a layer that is "
        "followed by zeros, as before the first step of training. Attribute parameters that have"
    )


def _entangled(
    streamer: Streamer, batch: Batch, found: Tensor, alone: Tensor, where: str
) -> GradientError:
    again = _losses(streamer, batch)
    if not losses_agree(_losses(streamer, batch), again):
        return GradientError(
            f"the losses of the same {len(again)} samples differ from run to run, by up to "
            f"{float((_losses(streamer, batch) - again).abs().max()):.1e}: the network draws at "
            "random or remembers earlier runs. Is the network in evaluation mode?"
        )
    worst = int((found - alone).abs().nan_to_num().argmax())
    return GradientError(
        f"the loss of a sample is {float(found[worst])} {where} and {float(alone[worst])} without "
        "them: expected a loss that depends on its own sample alone. Is the network in evaluation "
        "mode, and does it take the timestep and the conditions of each sample for that sample?"
    )
