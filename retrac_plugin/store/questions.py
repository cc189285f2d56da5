"""What a store can be asked: which rows of the training set a method takes, and its scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, scores_by_itself
from retrac_plugin.attribution.features import DIRECTIONS, KEPT, UNIT, Side, features_of, joined
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.rescaling import keep_norm
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.gradients.engine import Features
from retrac_plugin.gradients.projections import CountSketch, Projection
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.methods.features import Bank, Feature, query_side
from retrac_plugin.model.diffusion import NoisyBatch
from retrac_plugin.model.outputs import LOSS

SKETCH = CountSketch()
"""What is kept of a gradient for the paper's two methods."""


class Scoring(Protocol):
    """What makes scores of both sides' rows."""

    def score(self, bank: Bank) -> Tensor:
        """Return scores ``[query, some of the training set]`` from both sides."""


class Question(Scoring, Protocol):
    """A method, as a store is asked by it."""

    @property
    def setting(self) -> Setting:
        """The model and its checkpoints, and how gradients are taken."""

    def needs(self) -> list[Feature]:
        """Return the features whose rows of the training set are taken."""

    def query_side(self, at: CheckpointPass, feature: Feature, queries: ExampleSource) -> Side:
        """Return the queries' side of a feature."""

    def about(self) -> dict[str, Any]:
        """Return how the scores are made, to be written along."""


class OfFeatures:
    """A method on features.

    Args:
        attributor: The method.
    """

    def __init__(self, attributor: FeatureAttributor) -> None:
        self.attributor = attributor
        self.setting = attributor.setting.computing
        self.needs, self.score, self.about = attributor.needs, attributor.score, attributor.about

    def query_side(self, at: CheckpointPass, feature: Feature, queries: ExampleSource) -> Side:
        """See ``Question.query_side``."""
        return query_side(at, feature, queries)[0]


class OfPaper:
    """Diffusion-TracIn or Diffusion-ReTrac, from sketched gradients with exact norms.

    ``sum_k eta_k r(|g_i^k|) <S g_i^k, S q^k>`` with a sketch ``S``: inner products are estimates,
    without bias, of those of whole gradients.

    Args:
        attributor: The method.
        projection: The sketch.
    """

    def __init__(self, attributor: DiffusionAttributor, projection: Projection = SKETCH) -> None:
        self.attributor, self.projection = attributor, projection
        self.setting = attributor.setting

    def needs(self) -> list[Feature]:
        """See ``Question.needs``."""
        draws, engine = self.attributor.train_draws, self.setting.engine
        return [
            Feature(position, LOSS, KEPT, draws, self.projection, engine)
            for position in range(len(self.setting.checkpoints))
        ]

    def query_side(self, at: CheckpointPass, feature: Feature, queries: ExampleSource) -> Side:
        """See ``Question.query_side``; each timestep's norm is treated before their mean."""
        treatment = KEPT if self.attributor.method.rescale is keep_norm else UNIT
        engine = cast(StreamedEngine, at.engine_of("query"))
        project = partial(engine.features, projection=feature.projection)
        draws = self.attributor.query_draws
        return joined(features_of(at, queries, draws, "query", treatment, project))

    def by_timestep(
        self, at: CheckpointPass, feature: Feature, queries: ExampleSource
    ) -> tuple[Tensor, Tensor]:
        """Return the rows whose mean is the queries' side, and the timesteps that they are of.

        Returns:
            ``[query, timestep, d]`` and ``[query, timestep]``.
        """
        engine = cast(StreamedEngine, at.engine_of("query"))
        timesteps: list[Tensor] = []

        def noting(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[NoisyBatch]:
            for batch in batches:
                timesteps.append(batch.timesteps[::draws_each])
                yield batch

        def project(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
            noted = noting(batches, draws_each)
            return engine.features(noted, draws_each, projection=feature.projection)

        draws = self.attributor.query_draws
        method = self.attributor.method
        treatment = replace(DIRECTIONS, name=method.name, rescale=method.rescale)
        rows = joined(features_of(at, queries, draws, "query", treatment, project)).features
        return rows, torch.cat(timesteps).view(rows.shape[:2])

    def score(self, bank: Bank) -> Tensor:
        """See ``Question.score``."""
        rescale = self.attributor.method.rescale
        terms = [
            self.setting.checkpoints[feature.checkpoint].step_size
            * (pair.queries.features @ pair.train.features.T)
            * rescale(pair.train.norms)
            for feature, pair in bank.items()
        ]
        return torch.stack(terms).sum(0)

    def about(self) -> dict[str, Any]:
        """See ``Question.about``."""
        return {**self.attributor.about(), "projection": repr(self.projection)}


def question_of(attributor: Any) -> Question | None:
    """Return what a store is asked by a method; None if it takes the training set's rows whole.

    A class that another package derives from one of ours has to say itself that it scores sample by
    sample.
    """
    if isinstance(attributor, DiffusionAttributor):
        return None if scores_by_itself(attributor) else OfPaper(attributor)
    if not isinstance(attributor, FeatureAttributor) or not attributor.sample_by_sample:
        return None
    if attributor.layers is not None:  # their weights are learned from all of the training set
        return None
    kind = type(attributor)
    trusted = kind.__module__.startswith("retrac_plugin.") or "sample_by_sample" in vars(kind)
    return OfFeatures(attributor) if trusted else None
