"""What is kept of a sample's gradients: the mean over its draws, projected or whole.

Whoever compares gradients goes through ``features_of``: it says how many draws are averaged into a
row before the row's norm is treated, and what of the row is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass, Making
from retrac_plugin.attribution.rescaling import Rescaling, keep_norm, unit_norm
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import Features, GradientEngine
from retrac_plugin.model.diffusion import NoisyBatch


@dataclass(frozen=True)
class Treatment:
    """What happens to a sample's gradients before their mean.

    Attributes:
        name: For error messages and records.
        rescale: What becomes of the norm of each row.
        draws_each: ``(timesteps, noise draws of each) -> draws``, how many are averaged into a row
            before it is rescaled: the mean of gradients is the gradient of the mean.
    """

    name: str
    rescale: Rescaling
    draws_each: Callable[[int, int], int]


KEPT = Treatment("norms kept", keep_norm, lambda timesteps, noise: timesteps * noise)
UNIT = Treatment(
    "norm 1 at each timestep, noise averaged first", unit_norm, lambda timesteps, noise: noise
)
UNIT_PER_DRAW = Treatment(
    "norm 1 at each timestep and noise draw", unit_norm, lambda timesteps, noise: 1
)


class Side(NamedTuple):
    """One kind of feature of some samples."""

    features: Tensor
    """``[sample, d]``."""
    norms: Tensor
    """``[sample]``: of the mean gradient; exact where norms are kept, else that of the features."""
    outputs: Tensor
    """``[sample]``: the mean of the output itself."""


def features_of(
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    side: str,
    treatment: Treatment,
    project: Making[Features],
    at_once: int | None = None,
) -> Iterator[Side]:
    """Yield samples' features, block by block; all draws of a sample share a network pass.

    Args:
        at: The checkpoint.
        source: The samples.
        draws: Their timesteps and noise.
        side: Whose draws they are, ``"train"`` or ``"query"``.
        treatment: What happens to the gradients before their mean.
        project: What is kept of a row: an engine's ``features`` with a projection, its products
            with some vectors, or ``whole_gradients``.
        at_once: Samples at a time, at most.
    """
    draws_each = treatment.draws_each(*draws.per_sample())
    rows_each = prod(draws.per_sample()) // draws_each
    blocks = source.blocks(min(at.block_size(draws), at_once or len(source)))
    for found, _ in at.lead(blocks, source, draws, side, draws_each, project):
        outputs = found.losses.view(-1, rows_each * draws_each).mean(1)
        if treatment is KEPT:  # a row is a sample
            yield Side(found.features, found.norms, outputs)
            continue
        scaled = found.features * treatment.rescale(found.norms)[:, None]
        means = scaled.view(-1, rows_each, scaled.shape[1]).mean(1)
        yield Side(means, torch.linalg.vector_norm(means, dim=1), outputs)


def whole_gradients(engine: GradientEngine) -> Making[Features]:
    """Return what keeps rows whole: ``[row, width]``, with their norms."""

    def make(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
        for batch in batches:
            losses, gradients = engine.gradients(batch, draws_each)
            yield Features(losses, gradients, torch.linalg.vector_norm(gradients, dim=1))

    return make


def train_gradients(
    at: CheckpointPass, source: ExampleSource, draws: Draws
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, block by block, the whole train gradients ``[train, width]`` and their norms."""
    whole, at_once = whole_gradients(at.engine), at.gradients_at_once()
    for found in features_of(at, source, draws, "train", KEPT, whole, at_once):
        yield found.features, found.norms
