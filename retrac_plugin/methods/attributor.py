"""What all methods on features share: their options, and sharing features with one another."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.features import KEPT, Side, Treatment
from retrac_plugin.attribution.overriding import does_otherwise
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.methods.base import GradientMethod
from retrac_plugin.methods.features import (
    Bank,
    Feature,
    QuerySide,
    TrainSide,
    add_features,
    as_they_are,
    computed,
    cost_of,
    drop_features,
)
from retrac_plugin.methods.kernel_ridge import Limit
from retrac_plugin.methods.layer_weights import (
    LayerWeights,
    learned_scores,
    projecting,
    with_copies,
)
from retrac_plugin.model.outputs import Output


class FeatureAttributor(GradientMethod):
    """A method whose scores are a function of projected gradients at shared timesteps.

    Args:
        *args: See ``GradientMethod``.
        layers: How to learn weights of groups of layers, which are scored each by itself then.
            Default: the method's, for most None: all layers as one.
        **options: See ``GradientMethod``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    layers: LayerWeights | None = None
    """Unless told otherwise."""
    limit: ClassVar[Limit | None] = None
    """How many training samples it takes."""
    sample_by_sample: ClassVar[bool] = False
    """Whether ``score`` may be given some of the training set: of the others it needs no more than
    ``Pair.whole`` knows."""

    def __init__(self, *args: Any, layers: LayerWeights | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.layers = type(self).layers if layers is None else layers
        if self.layers is not None:
            own = projecting(self.setting.projection)
            self.setting = replace(self.setting, projection=own)

    @abstractmethod
    def needs(self) -> list[Feature]:
        """Return the features that ``score`` takes."""

    @abstractmethod
    def score(self, bank: Bank) -> Tensor:
        """Return scores ``[query, train]`` from the features."""

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """See ``GradientMethod.attribute``."""
        return next(_sharing_in_turn([self], train, queries))

    def feature(
        self,
        checkpoint: int,
        output: Output,
        treatment: Treatment,
        queries: QuerySide = as_they_are,
        engine: EngineFactory | None = None,
    ) -> Feature:
        """Return a feature at the method's draws, projected as the method projects."""
        computes = engine or self.setting.computing.engine
        draws, projection = self.setting.draws, self.setting.projection
        return Feature(checkpoint, output, treatment, draws, projection, computes, queries)

    @property
    def last(self) -> int:
        """Position of the last checkpoint."""
        return len(self.setting.checkpoints) - 1

    def about(self) -> dict[str, Any]:
        """Return how the scores are made, to be written along."""
        return {
            "method": self.name,
            "query_draws": repr(self.setting.draws),
            "projection": repr(self.setting.projection),
            "features": [
                f"checkpoint {f.checkpoint}: {f.output.name}, {f.treatment.name}"
                for f in self.needs()
            ],
        }


def attribute_together(
    attributors: Sequence[FeatureAttributor],
    train: Examples,
    queries: Examples,
    train_side: TrainSide = computed,
) -> list[Scores]:
    """Return the scores of several methods; each feature is computed once.

    See ``attribute_in_turn``; a subclass that overrides ``attribute`` is asked by itself.
    ``train_side`` gives the training set's side of a feature.
    """
    sharing = [each for each in attributors if not scores_by_itself(each)]
    shared = iter(list(_sharing_in_turn(sharing, train, queries, train_side)) if sharing else [])
    return [
        each.attribute(train, queries) if scores_by_itself(each) else next(shared)
        for each in attributors
    ]


def attribute_in_turn(
    attributors: Sequence[FeatureAttributor],
    train: Examples,
    queries: Examples,
    train_side: TrainSide = computed,
) -> Iterator[Scores]:
    """Yield the scores of one method after the other; each feature is computed once.

    A feature is computed when the first method asks for it, and dropped after the last. What each
    method would have cost alone stands in its scores' ``about``: ``seconds``, of which
    ``scoring_seconds`` came after the features, and ``passes``, samples led forward and backward
    through the network.

    Args:
        attributors: They must share model, checkpoints, device and engine.
        train: The training set.
        queries: The images to explain.
        train_side: What gives the training set's side of a feature.

    Raises:
        InputError: If the attributors differ in these, or one overrides ``attribute``.
    """
    if any(map(scores_by_itself, attributors)):
        raise InputError(
            "a method that overrides attribute() shares no features: call its own attribute()"
        )
    yield from _sharing_in_turn(attributors, train, queries, train_side)


def scores_by_itself(attributor: FeatureAttributor) -> bool:
    """Whether an attributor's class overrides ``attribute``, which what is shared never calls."""
    return does_otherwise(attributor, FeatureAttributor, "attribute")


def _sharing_in_turn(
    attributors: Sequence[FeatureAttributor],
    train: Examples,
    queries: Examples,
    train_side: TrainSide = computed,
) -> Iterator[Scores]:
    setting = attributors[0].setting.computing
    for other in attributors[1:]:
        differing = setting.differences(other.setting.computing)
        if differing:
            raise InputError(f"attributors must share {', '.join(differing)} to share features")
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    for attributor in attributors:
        if attributor.limit is not None:
            attributor.limit.check(attributor.name, len(sources[0]))
    bank: Bank = {}
    for position, attributor in enumerate(attributors):
        add_features(bank, setting, attributor.needs(), *sources, train_side)
        yield _scores(attributor, bank, sources[0])
        later = attributors[position + 1 :]
        drop_features(bank, (feature for other in later for feature in other.needs()))


def _scores(attributor: FeatureAttributor, bank: Bank, train: ExampleSource) -> Scores:
    start = time.perf_counter()
    layers, learned = attributor.layers, {}
    if layers is None:
        values = attributor.score(bank)
    else:
        setting = attributor.setting.computing
        own = {feature: bank[feature] for feature in attributor.needs()}
        bank = with_copies(own, layers, setting, train)
        names = setting.model.attributed_names()
        values, shares = learned_scores(attributor.score, bank, layers, names)
        learned = {"layer weights": repr(layers), "learned": shares}
    own_seconds = time.perf_counter() - start
    cost = cost_of(bank, attributor.needs())
    about = {
        **attributor.about(),
        **learned,
        "seconds": cost.seconds + own_seconds,
        "scoring_seconds": own_seconds,
        "passes": cost.passes,
    }
    return Scores(values, _gradient_norms(attributor, bank), about)


def _gradient_norms(attributor: FeatureAttributor, bank: Bank) -> Tensor | None:
    """Return the training gradients' norms ``[checkpoint, train]`` where they were kept."""
    kept: list[Side] = [bank[f].train for f in attributor.needs() if f.treatment is KEPT]
    return torch.stack([side.norms for side in kept]) if kept else None
