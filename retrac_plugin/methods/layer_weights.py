"""Learned layer weights: which groups of layers tell training samples apart.

The method scores by each group's features alone, and the scores are added up by weights that are
learned without any label: a few training samples, disturbed, stand for queries, and each is to
stand out by its own original. After Li et al. (ICLR 2026, arXiv 2506.05647), who learn one weight
a group on the query side, before curvature, by a signal-to-noise ratio of unlabelled queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from retrac_plugin.attribution.features import Side, joined
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import Block, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch, Projection
from retrac_plugin.gradients.projections.by_layer import ByLayer, groups_of
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.methods.cost import Cost
from retrac_plugin.methods.features import Bank, Pair, query_side
from retrac_plugin.randomness import SAMPLE_KEY, content_key, normal

STEPS, RATE = 500, 0.1
"""Of gradient ascent on the weights' logarithms; more move a share by a few hundredths at most."""


@dataclass(frozen=True)
class LayerWeights:
    """How weights of groups of layers are learned.

    Attributes:
        copies: Training samples that stand for queries, evenly spaced; all of a smaller set.
        noise: How much normal noise each is disturbed by, in its own standard deviations.
        seed: Of that noise.
    """

    copies: int = 32
    noise: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 1 or not self.noise >= 0:
            raise InputError(
                f"copies must be at least 1 and noise at least 0, got {self.copies}, {self.noise}"
            )

    def chosen(self, train: int) -> list[int]:
        """Return the positions of the samples that are disturbed."""
        count = min(self.copies, train)
        return [k * train // count for k in range(count)]

    def disturbed(self, train: ExampleSource, size: int) -> list[dict[str, Any]]:
        """Return them disturbed, as examples, read ``size`` at a time."""
        part = train.part(self.chosen(len(train)))
        return [one for block in part.blocks(size) for one in self._of_block(block)]

    def _of_block(self, block: Block) -> Iterator[dict[str, Any]]:
        for place, sample in enumerate(block.samples):
            key = (self.seed, 5, content_key(sample), 0)
            noise = normal([key], sample.shape)[0].to(sample)
            own = tree_map(lambda tensor, place=place: tensor[place], block.conditions)
            keyed = {SAMPLE_KEY: block.keys[place]} if block.encoded else {}
            yield {"sample": sample + self.noise * sample.std() * noise, **own, **keyed}


class Learned(NamedTuple):
    """Scores by learned weights."""

    values: Tensor
    """``[query, train]``."""
    shares: dict[str, float]
    """The weights by group, which sum to 1."""


def projecting(projection: Projection) -> ByLayer:
    """Return the projection that keeps groups of layers apart.

    Raises:
        InputError: If it is none that can be taken of each group.
    """
    if isinstance(projection, CountSketch):
        return ByLayer(projection)
    if isinstance(projection, ByLayer):
        return projection
    raise InputError(f"layer weights need a CountSketch of each group of layers, got {projection}")


def with_copies(bank: Bank, how: LayerWeights, setting: Setting, train: ExampleSource) -> Bank:
    """Return a bank in which the disturbed samples come after the queries.

    Args:
        bank: What a method needs.
        how: How they are disturbed.
        setting: The model and its checkpoints.
        train: The training set.
    """
    copies = ExampleSource(how.disturbed(train, setting.batch_size), "queries")
    found: Bank = {}
    for feature, pair in bank.items():
        at = feature.at(setting)
        side, passes = query_side(at, feature, copies)
        cost = Cost(pair.query_cost.seconds, pair.query_cost.passes + passes)
        found[feature] = replace(pair, queries=joined([pair.queries, side]), query_cost=cost)
    return found


def learned_scores(
    score: Callable[[Bank], Tensor], bank: Bank, how: LayerWeights, names: list[str]
) -> Learned:
    """Return the scores of the queries, by weights that are learned of the copies behind them.

    Args:
        score: ``bank -> [query, train]``, the method's.
        bank: See ``with_copies``.
        how: How the copies were chosen.
        names: The attributed parameters.
    """
    (first, *_) = bank
    (pair, *_) = bank.values()
    width = projecting(first.projection).each.dimension
    count = pair.queries.features.shape[-1] // width
    scores = torch.stack([score(_of_group(bank, g, width)) for g in range(count)])
    own = how.chosen(len(pair.train.norms))
    weights, shares = learn(scores[:, -len(own) :], torch.tensor(own, device=scores.device))
    values = torch.einsum("g,gqi->qi", weights.to(scores), scores[:, : -len(own)])
    groups = groups_of(names) if count > 1 else ["all"]
    return Learned(values, dict(zip(groups, shares.tolist(), strict=True)))


def learn(scores: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each group's scores are multiplied with, and the shares of it that are learned.

    A group's scores are brought to a mean square of 1. The shares, a softmax, maximise the mean
    over copies of how many standard deviations the original's score is above the training set's
    mean.

    Args:
        scores: By group, of copies, ``[group, copy, train]``.
        own: The position of each copy's original, ``[copy]``.
    """
    wide = scores.cpu().double()
    size = wide.square().mean((1, 2)).sqrt()
    scale = torch.where(size > 0, 1 / size, 0)
    centred = (wide - wide.mean(2, keepdim=True)) * scale[:, None, None]
    above = centred[:, torch.arange(len(own)), own.cpu()]
    spread = torch.einsum("gmi,hmi->mgh", centred, centred) / wide.shape[2]
    logarithms = torch.zeros(len(wide), dtype=torch.float64)
    for _ in range(STEPS):
        shares = logarithms.softmax(0)
        towards = torch.einsum("mgh,h->gm", spread, shares)
        variance = (shares @ towards).clamp(min=torch.finfo(torch.float64).tiny)
        signal = shares @ above
        gradient = ((above - towards * (signal / variance)) / variance.sqrt()).mean(1)
        logarithms += RATE * shares * (gradient - shares @ gradient)
    shares = logarithms.softmax(0)
    return shares * scale, shares


def _of_group(bank: Bank, group: int, width: int) -> Bank:
    own = slice(group * width, (group + 1) * width)

    def of(side: Side) -> Side:
        features = side.features[..., own]
        return Side(features, row_norms(features.flatten(1)), side.outputs)

    return {
        feature: Pair(of(pair.train), pair.train_cost, of(pair.queries), pair.query_cost)
        for feature, pair in bank.items()
    }
