"""What is kept of a sample's gradients, of all its draws or a timestep, projected or whole.

Whoever compares gradients goes through ``features_of``: it says how many draws are averaged into a
row before the row's norm is treated, and what of the row is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass, Making
from retrac_plugin.attribution.rescaling import Rescaling, keep_norm, unit_norm
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import Features, GradientEngine
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.model.diffusion import NoisyBatch


@dataclass(frozen=True)
class Treatment:
    """What is made of a sample's gradients.

    Attributes:
        name: For error messages and records.
        rescale: What becomes of the norm of each row.
        draws_each: ``(timesteps, noise draws of each) -> draws``, how many are averaged into a row
            before it is rescaled: the mean of gradients is the gradient of the mean.
        of_rows: What is kept of a sample's rescaled rows, ``[sample, row, d]``.
    """

    name: str
    rescale: Rescaling
    draws_each: Callable[[int, int], int]
    of_rows: Callable[[Tensor], Tensor]


def mean(rows: Tensor) -> Tensor:
    """Keep a sample's mean row, ``[sample, d]``."""
    return rows.mean(1)


def apart(rows: Tensor) -> Tensor:
    """Keep each of a sample's rows, ``[sample, row, d]``."""
    return rows


KEPT = Treatment("norms kept", keep_norm, lambda timesteps, noise: timesteps * noise, mean)
UNIT = Treatment(
    "norm 1 at each timestep, noise averaged first", unit_norm, lambda timesteps, noise: noise, mean
)
UNIT_PER_DRAW = Treatment(
    "norm 1 at each timestep and noise draw", unit_norm, lambda timesteps, noise: 1, mean
)
DIRECTIONS = Treatment(
    "timesteps apart, norm 1, noise averaged first",
    unit_norm,
    lambda timesteps, noise: noise,
    apart,
)


class Side(NamedTuple):
    """One kind of feature of some samples."""

    features: Tensor
    """``[sample, d]``, or ``[sample, timestep, d]`` where timesteps are kept apart."""
    norms: Tensor
    """``[sample]``: of the mean gradient; exact where norms are kept, else that of the features."""
    outputs: Tensor
    """``[sample]``: the mean of the output itself."""


def joined(sides: Iterable[Side]) -> Side:
    """Return blocks of samples, one after the other, as one."""
    return Side(*map(torch.cat, zip(*sides, strict=True)))


def features_of(
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    side: str,
    treatment: Treatment,
    project: Making[Features],
    at_once: int | None = None,
) -> Iterator[Side]:
    """Yield samples' features, block by block.

    All draws that are averaged before a norm is treated share a network pass: with ``KEPT`` those
    of a sample, else those of a timestep.

    Args:
        at: The checkpoint.
        source: The samples.
        draws: Their timesteps and noise.
        side: Whose draws they are, ``"train"`` or ``"query"``.
        treatment: What is made of a sample's gradients.
        project: What is kept of a row: an engine's ``features`` with a projection, its products
            with some vectors, or ``whole_gradients``.
        at_once: Samples at a time, at most.
    """
    timesteps_each, noise_each = draws.per_sample()
    draws_each = treatment.draws_each(timesteps_each, noise_each)
    rows_each = timesteps_each * noise_each // draws_each
    blocks = source.blocks(min(at.block_size(draws), at_once or len(source)))
    divisible = draws_each <= noise_each
    timesteps_at_once = max(1, at.batch_size // noise_each) if divisible else None
    led = at.lead(blocks, source, draws, side, draws_each, project, timesteps_at_once)
    for found in _of_whole_samples((each.made for each in led), rows_each):
        outputs = found.losses.view(-1, rows_each * draws_each).mean(1)
        if treatment is KEPT:  # a row is a sample
            yield Side(found.features, found.norms, outputs)
            continue
        scaled = found.features * treatment.rescale(found.norms)[:, None]
        kept = treatment.of_rows(scaled.view(-1, rows_each, scaled.shape[1]))
        yield Side(kept, row_norms(kept.flatten(1)), outputs)


def _of_whole_samples(batches: Iterable[Features], rows_each: int) -> Iterator[Features]:
    """Join batches until no sample is in two of them."""
    waiting: list[Features] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(each.norms) for each in waiting) % rows_each:
            continue
        if len(waiting) == 1:  # as it is: whole gradients have no room for a copy
            yield batch
        else:
            yield Features(*map(torch.cat, zip(*waiting, strict=True)))
        waiting.clear()


def whole_gradients(engine: GradientEngine) -> Making[Features]:
    """Return what keeps rows whole: ``[row, width]``, with their norms."""

    def make(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
        for batch in batches:
            losses, gradients = engine.gradients(batch, draws_each)
            yield Features(losses, gradients, row_norms(gradients))

    return make


def train_gradients(
    at: CheckpointPass, source: ExampleSource, draws: Draws
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, block by block, the whole train gradients ``[train, width]`` and their norms."""
    whole, at_once = whole_gradients(at.engine), at.gradients_at_once()
    for found in features_of(at, source, draws, "train", KEPT, whole, at_once):
        yield found.features, found.norms
