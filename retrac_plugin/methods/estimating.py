"""What an attribution by methods on features will take, from a few real batches of each feature."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.estimate import (
    HEADER_BYTES,
    IN_MEMORY,
    SCORE_BYTES,
    Estimate,
    bytes_of_names,
    encoding_of,
)
from retrac_plugin.attribution.features import KEPT, Side
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.methods.cost import Cost
from retrac_plugin.methods.features import Feature, Pair, query_side, side_of
from retrac_plugin.model.devices import peak_bytes, wait_for

BATCHES = 2
"""Batches of either side that are timed, after a sample that is not."""

SCORED = 400
"""Rows that a method's own scoring is timed with; more are counted up."""

_NOTHING = Cost(0.0, 0)


class _Timed(NamedTuple):
    """One feature: seconds to load its checkpoint, and of a sample on either side; some rows."""

    loading: float
    train: float
    query: float
    rows: Side


def estimate_features(
    attributors: Sequence[FeatureAttributor], train: Examples, num_queries: int, repeats: int = 1
) -> Estimate:
    """Estimate ``attribute_together`` of methods on features.

    Their own scoring is timed with few rows of random numbers, and taken to grow with the training
    set, by its cube where a method inverts a matrix ``[train, train]``.

    Args:
        attributors: The methods, which share model and checkpoints.
        train: The training set; its first samples are timed, also in the place of queries.
        num_queries: How many queries there will be.
        repeats: How often all is done, with other draws.

    Raises:
        InputError: If there is no method, or no query.
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    if not attributors or num_queries < 1:
        raise InputError(
            f"estimate: expected methods on features and at least one query, got "
            f"{len(attributors)} and {num_queries}"
        )
    encoding, cache = encoding_of(train)
    source, setting = ExampleSource(train, "train"), attributors[0].setting.computing
    count, copies = len(source), max(_copies(each, len(source)) for each in attributors)
    wanted = dict.fromkeys(feature for each in attributors for feature in each.needs())
    with PeakMemory(setting.device) as peak:
        timed = {feature: _time(feature, setting, source) for feature in wanted}
        scoring = sum(_scoring(each, timed, count, num_queries) for each in attributors)
    once = {feature.of_train: timed[feature] for feature in wanted}
    asked = num_queries + copies
    bytes_each = {
        f: t.rows.features[0].numel() * t.rows.features.itemsize for f, t in timed.items()
    }
    held = sum(bytes_each[f] * (count + asked) for f in wanted)
    held += IN_MEMORY * len(attributors) * num_queries * count * SCORE_BYTES
    held += max((2 * 8 * count**2 for each in attributors if each.limit is not None), default=0)
    on_cpu = setting.device.type == "cpu"
    norms = sum(f.treatment is KEPT for each in attributors for f in each.needs())
    values = (1 + 2 * (repeats > 1)) * num_queries * count * len(attributors) + norms * count
    texts = len(attributors) * (HEADER_BYTES + bytes_of_names(train, num_queries))
    return Estimate(
        encoding=encoding,
        loading=repeats * sum(t.loading for t in timed.values()),
        queries=repeats * asked * sum(t.query for t in timed.values()),
        training=repeats * (count * sum(t.train for t in once.values()) + scoring),
        memory=(peak.bytes or 0) + (held if on_cpu else 0),
        device_memory=0 if on_cpu else peak_bytes(setting.device) + held,
        query_bytes=asked * sum(bytes_each.values()),
        blocks=1,
        scores=values * SCORE_BYTES + texts,
        cache=cache,
    )


def _copies(attributor: FeatureAttributor, train: int) -> int:
    return 0 if attributor.layers is None else len(attributor.layers.chosen(train))


def _time(feature: Feature, setting: Setting, train: ExampleSource) -> _Timed:
    """Time a few batches of a feature, the training set's samples standing for queries too."""
    start = time.perf_counter()
    at = feature.at(setting)
    side_of(at, feature, train.part([0]), feature.draws, "train")  # the first is checked
    wait_for(setting.device)
    loaded = time.perf_counter()
    part = train.part(range(min(len(train), BATCHES * at.block_size(feature.draws))))
    rows = side_of(at, feature, part, feature.draws, "train")
    wait_for(setting.device)
    trained = time.perf_counter()
    query_side(at, feature, part)
    wait_for(setting.device)
    asked = time.perf_counter()
    return _Timed(
        loaded - start, (trained - loaded) / len(part), (asked - trained) / len(part), rows
    )


def _scoring(
    attributor: FeatureAttributor, timed: dict[Feature, _Timed], train: int, queries: int
) -> float:
    """Return the seconds of a method's own scoring, groups of layers counted each."""
    some, few = min(train, SCORED), min(queries, SCORED)
    bank = {
        f: Pair(_like(timed[f].rows, some), _NOTHING, _like(timed[f].rows, few), _NOTHING)
        for f in attributor.needs()
    }
    start = time.perf_counter()
    attributor.score(bank)
    wait_for(attributor.setting.computing.device)
    power = 1 if attributor.limit is None else 3
    return (time.perf_counter() - start) * (train / some) ** power * (queries / few)


def _like(rows: Side, count: int) -> Side:
    """Return random rows of the same shape and type."""

    def drawn(like: Tensor) -> Tensor:
        return torch.rand(count, *like.shape[1:], dtype=like.dtype, device=like.device) + 0.1

    return Side(*map(drawn, rows))


def together(estimates: Iterable[Estimate]) -> Estimate:
    """Return what several attributions take, one after the other in one process."""
    (first, *others) = estimates
    for other in others:
        first = Estimate(
            encoding=max(first.encoding, other.encoding),
            loading=first.loading + other.loading,
            queries=first.queries + other.queries,
            training=first.training + other.training,
            memory=max(first.memory, other.memory),
            device_memory=max(first.device_memory, other.device_memory),
            query_bytes=max(first.query_bytes, other.query_bytes),
            blocks=max(first.blocks, other.blocks),
            scores=first.scores + other.scores,
            cache=max(first.cache, other.cache),
        )
    return first
