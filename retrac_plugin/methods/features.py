"""The feature bank: projected gradients of the training set and the queries, each computed once.

A feature of a sample is the mean over its timesteps of its gradient, projected to ``d`` numbers.
Methods say which features they need; methods that need the same ones share them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.diffusion import check_deterministic
from retrac_plugin.draws import Draw, Draws, Request
from retrac_plugin.examples import ExampleSource
from retrac_plugin.methods.curvature import Curvature
from retrac_plugin.methods.setting import Setting
from retrac_plugin.outputs import Output
from retrac_plugin.passes import CheckpointPass
from retrac_plugin.rescaling import Rescaling, keep_norm, unit_norm


@dataclass(frozen=True)
class EachAlone:
    """Draws of which none is averaged with another: ``T x S`` timesteps with one noise draw each.

    Attributes:
        draws: The draws, ``T`` timesteps with ``S`` noise draws each.
    """

    draws: Draws

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        timesteps_each, noise_each = self.draws.per_sample()
        return timesteps_each * noise_each, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        timesteps, noise, samples = self.draws.draw(request)
        each = noise.shape[2]
        return Draw(
            timesteps.repeat_interleave(each, dim=1),
            noise.flatten(1, 2).unsqueeze(2),
            None if samples is None else samples.repeat_interleave(each, dim=1),
        )


@dataclass(frozen=True)
class Treatment:
    """What happens to a sample's gradients before their mean over timesteps.

    Attributes:
        name: For error messages and records.
        rescale: What becomes of their norms.
        arrange: Which draws are averaged first.
    """

    name: str
    rescale: Rescaling
    arrange: Callable[[Draws], Draws]


def _as_they_are(draws: Draws) -> Draws:
    return draws


KEPT = Treatment("norms kept", keep_norm, _as_they_are)
UNIT = Treatment("norm 1 at each timestep, noise averaged first", unit_norm, _as_they_are)
UNIT_PER_DRAW = Treatment("norm 1 at each timestep and noise draw", unit_norm, EachAlone)


@dataclass(frozen=True)
class Feature:
    """One kind of feature.

    Attributes:
        checkpoint: Position of the checkpoint in the series.
        output: Of which output the gradient is taken.
        treatment: What happens to the gradients before their mean.
    """

    checkpoint: int
    output: Output
    treatment: Treatment

    @property
    def source(self) -> tuple[int, str, str]:
        """Names the backward passes behind it: features of one source come from the same ones."""
        return self.checkpoint, self.output.name, self.treatment.arrange.__name__


class Side(NamedTuple):
    """One kind of feature of all samples of one side."""

    features: Tensor
    """``[sample, d]``."""
    norms: Tensor
    """``[sample]``: exact, of the mean gradient before it was projected."""


class Cost(NamedTuple):
    """What backward passes took."""

    seconds: float
    passes: int
    """Samples led forward and backward through the network."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One kind of feature of both sides.

    Attributes:
        train: Of the training set.
        queries: Of the queries.
        cost: Of the backward passes, which features of one source share.
    """

    train: Side
    queries: Side
    cost: Cost

    @cached_property
    def curvature(self) -> Curvature:
        """The training features, decomposed."""
        return Curvature(self.train.features)


Bank = dict[Feature, Pair]


def compute_features(
    setting: Setting, wanted: Iterable[Feature], train: ExampleSource, queries: ExampleSource
) -> Bank:
    """Return all wanted features, those of one source from the same backward passes.

    Both sides are taken at ``setting.draws``, the noise of a sample depending on its side.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    check_deterministic(setting.model.network)
    bank: Bank = {}
    distinct = sorted(set(wanted), key=lambda feature: feature.source)
    groups = [list(group) for _, group in groupby(distinct, key=lambda feature: feature.source)]
    samples = len(train) + len(queries)
    with setting.bar(samples * len(groups)) as bar:
        for features in groups:
            start = time.perf_counter()
            at = checkpoint_pass(setting, features[0], bar)
            rescalings = [feature.treatment.rescale for feature in features]
            draws = features[0].treatment.arrange(setting.draws)
            sides = [
                _side(setting, at, source, draws, rescalings, side)
                for source, side in ((train, "train"), (queries, "query"))
            ]
            timesteps_each, noise_each = draws.per_sample()
            cost = Cost(time.perf_counter() - start, samples * timesteps_each * noise_each)
            for feature, ours, theirs in zip(features, *sides, strict=True):
                bank[feature] = Pair(ours, theirs, cost)
    return bank


def cost_of(bank: Bank, wanted: Iterable[Feature]) -> Cost:
    """Return what the wanted features cost a method that is used alone."""
    by_source = {feature.source: bank[feature].cost for feature in wanted}
    return Cost(
        sum(cost.seconds for cost in by_source.values()),
        sum(cost.passes for cost in by_source.values()),
    )


def checkpoint_pass(setting: Setting, feature: Feature, bar: Any) -> CheckpointPass:
    """Load the checkpoint of a feature, to take gradients of its output."""
    return CheckpointPass(
        feature.output.of(setting.model),
        setting.checkpoints[feature.checkpoint],
        feature.checkpoint,
        setting.gradients.engine,
        setting.device,
        setting.batch_size,
        bar.update,
    )


def _side(
    setting: Setting,
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    rescalings: list[Rescaling],
    side: str,
) -> list[Side]:
    """Return one ``Side`` for each rescaling; whole gradients are kept for one block alone."""
    project = setting.gradients.projection(at.engine.width, setting.device, at.dtype)
    wide = torch.promote_types(at.dtype, torch.float32)  # half precision cannot be decomposed
    blocks = [
        [
            Side(project(means).to(wide), torch.linalg.vector_norm(means, dim=1, dtype=wide))
            for means in block
        ]
        for block in mean_gradients(setting, at, source, draws, rescalings, side)
    ]
    by_rescaling = zip(*blocks, strict=True)
    return [Side(*map(torch.cat, zip(*parts, strict=True))) for parts in by_rescaling]


def mean_gradients(
    setting: Setting,
    at: CheckpointPass,
    source: ExampleSource,
    draws: Draws,
    rescalings: list[Rescaling],
    side: str,
) -> Iterator[Tensor]:
    """Yield the samples' whole mean gradients ``[rescaling, sample, width]``, block by block."""
    timesteps_each, noise_each = draws.per_sample()
    for block in source.blocks(max(1, setting.batch_size // (timesteps_each * noise_each))):
        means = torch.zeros(
            len(rescalings), len(block.ids), at.engine.width, dtype=at.dtype, device=at.device
        )
        at.add_query_gradients(means, block, source, draws, rescalings, side)
        yield means
