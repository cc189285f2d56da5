"""The feature bank: projected gradients of the training set and the queries, each computed once.

A feature of a sample is its gradient, projected to ``d`` numbers: the mean over its timesteps, or
one row a timestep. Methods say which features they need; methods that need the same ones share
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import cast

from torch import Tensor

from retrac_plugin.attribution.features import Side, Treatment, features_of, joined
from retrac_plugin.attribution.in_parts import in_parts
from retrac_plugin.attribution.keeping import Of
from retrac_plugin.attribution.passes import CheckpointPass, Tick, nothing
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.gradients.projections import Projection
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.methods.cost import Cost, timed
from retrac_plugin.methods.whole import InMemory, Whole
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.outputs import Output

QuerySide = Callable[[Draws, CheckpointPass, ExampleSource], tuple[ExampleSource, Draws]]
"""What is led through the network for the queries, as many samples for each, side by side."""


def as_they_are(
    draws: Draws, at: CheckpointPass, queries: ExampleSource
) -> tuple[ExampleSource, Draws]:
    """Lead the queries themselves through the network."""
    return queries, draws


@dataclass(frozen=True)
class Feature:
    """One kind of feature, by all that decides it beside the model and the samples.

    Attributes:
        checkpoint: Position of the checkpoint in the series.
        output: Of which output the gradient is taken.
        treatment: What is made of a sample's gradients.
        draws: Timesteps and noise of both sides.
        projection: What is kept of a gradient.
        engine: What computes gradients, or what stands for them.
        queries: What stands for the queries.
    """

    checkpoint: int
    output: Output
    treatment: Treatment
    draws: Draws
    projection: Projection
    engine: EngineFactory
    queries: QuerySide = as_they_are

    def at(self, setting: Setting, tick: Tick = nothing) -> CheckpointPass:
        """Load its checkpoint, with its output and its engine.

        Args:
            setting: The model and its checkpoints.
            tick: Called with the number of samples done.
        """
        return setting.at(self.checkpoint, tick, output=self.output, engine=self.engine)

    @property
    def of_train(self) -> Feature:
        """Names the training set's side of it."""
        return replace(self, queries=as_they_are)


@dataclass(frozen=True, eq=False)
class Pair:
    """One kind of feature of both sides.

    Attributes:
        train: Of the training set, or of some of it.
        train_cost: Of its backward passes.
        queries: Of the queries.
        query_cost: Of theirs.
        of_whole: What is known of the whole training set; None: ``train`` is all of it.
    """

    train: Side
    train_cost: Cost
    queries: Side
    query_cost: Cost
    of_whole: Whole | None = None

    @cached_property
    def whole(self) -> Whole:
        """What a method may ask of the whole training set's rows."""
        return InMemory(self.train.features) if self.of_whole is None else self.of_whole

    @cached_property
    def coordinates(self) -> Tensor:
        """The training samples' rows in the curvature's basis, ``[train, rank]``."""
        return self.whole.coordinates(self.train.features)


Bank = dict[Feature, Pair]


TrainSide = Callable[[CheckpointPass, Feature, ExampleSource], tuple[Side, int]]
"""Gives the training set's side of a feature, and how many samples were led through the network."""


def computed(at: CheckpointPass, feature: Feature, train: ExampleSource) -> tuple[Side, int]:
    """Compute the training set's side of a feature, and keep what is finished of it."""

    def make(part: ExampleSource) -> dict[str, Tensor]:
        return side_of(at, feature, part, feature.draws, "train")._asdict()

    parts = in_parts(at, train, feature.draws, Of((), ("features", feature.of_train)), make)
    sides = [Side(**part) for part in parts]
    side = sides[0] if len(sides) == 1 else joined(sides)  # as it is: there may be no room for two
    return side, len(train) * prod(feature.draws.per_sample())


def add_features(
    bank: Bank,
    setting: Setting,
    wanted: Iterable[Feature],
    train: ExampleSource,
    queries: ExampleSource,
    train_side: TrainSide = computed,
) -> None:
    """Add to a bank what it lacks of the wanted features, each computed once.

    Args:
        bank: The bank.
        setting: The model and its checkpoints, and how gradients are taken.
        wanted: Which features.
        train: The training set.
        queries: The images to explain.
        train_side: What gives the training set's side.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    check_deterministic(setting.model.network)
    lacking = sorted(set(wanted) - bank.keys(), key=lambda feature: feature.checkpoint)
    samples = (len(train) + len(queries)) * len(lacking)
    with setting.bar(samples, "features") as bar:
        for feature in lacking:
            at = feature.at(setting, bar.update)
            alike = (pair for known, pair in bank.items() if known.of_train == feature.of_train)
            pair = next(alike, None)
            if pair is None:
                ours, cost = timed(partial(train_side, at, feature, train), setting.keep)
            else:
                ours, cost = pair.train, pair.train_cost
            theirs, query_cost = timed(partial(query_side, at, feature, queries), setting.keep)
            bank[feature] = Pair(ours, cost, theirs, query_cost)
            del at  # or this checkpoint's weights stay while the next one loads


def cost_of(bank: Bank, wanted: Iterable[Feature]) -> Cost:
    """Return what the wanted features cost a method that is used alone."""
    pairs = [bank[feature] for feature in set(wanted)]
    costs = [cost for pair in pairs for cost in (pair.train_cost, pair.query_cost)]
    return Cost(sum(cost.seconds for cost in costs), sum(cost.passes for cost in costs))


def drop_features(bank: Bank, wanted: Iterable[Feature]) -> None:
    """Drop what none of the wanted features will ask for."""
    needed = {feature.of_train for feature in wanted}
    for feature in [feature for feature in bank if feature.of_train not in needed]:
        del bank[feature]


def query_side(at: CheckpointPass, feature: Feature, queries: ExampleSource) -> tuple[Side, int]:
    """Compute the queries' side of a feature, and say how many samples were led for it."""
    given, draws = feature.queries(feature.draws, at, queries)
    rows = side_of(at, feature, given, draws, "query")
    found = rows if len(given) == len(queries) else _means(rows, len(queries))
    return found, len(given) * prod(draws.per_sample())


def side_of(
    at: CheckpointPass, feature: Feature, source: ExampleSource, draws: Draws, side: str
) -> Side:
    """Return some samples' side of a feature; no gradient is held whole.

    Args:
        at: The feature's checkpoint, with its output and its engine.
        feature: The feature.
        source: The samples.
        draws: Their timesteps and noise.
        side: Whose they are, ``"train"`` or ``"query"``.
    """
    engine = cast(StreamedEngine, at.engine_of(side))  # or what projects as it does
    project = partial(engine.features, projection=feature.projection)
    return joined(features_of(at, source, draws, side, feature.treatment, project))


def _means(side: Side, count: int) -> Side:
    """Average what stands for one query."""
    features = side.features.view(count, -1, side.features.shape[1]).mean(1)
    norms = row_norms(features)
    return Side(features, norms, side.outputs.view(count, -1).mean(1))
