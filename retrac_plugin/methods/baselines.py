"""What every method must beat: similarity of images, the training loss, and chance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws, Shared
from retrac_plugin.methods.kernel_ridge import Limit, kernel_weights, wide
from retrac_plugin.methods.losses import mean_losses
from retrac_plugin.model.devices import usable_device
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.randomness import normal


class Baseline(ABC):
    """Scores that need no gradient.

    Args:
        model: The diffusion model.
        checkpoints: Its checkpoints.
        query_draws: Timesteps and noise at which losses are taken.
        batch_size: Samples per network pass.
        device: Where it is computed; default: where the network is.
        seed: Of what is random.
        **options: What other methods take; not used.
    """

    name: ClassVar[str]
    draws_alike: ClassVar[bool] = True

    def __init__(
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        *,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.model, self.checkpoints, self.seed = model, checkpoints, seed
        self.draws: Draws = Shared(10) if query_draws is None else query_draws
        self.batch_size = batch_size
        own = next(model.network.parameters()).device
        self.device = own if device is None else usable_device(device)

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the scores of every training sample for every query.

        Args:
            train: The training set.
            queries: The images to explain.
        """
        values = self.score(ExampleSource(train, "train"), ExampleSource(queries, "queries"))
        return Scores(values, about={"method": self.name})

    @abstractmethod
    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """Return scores ``[query, train]``."""


class RandomScores(Baseline):
    """Standard normal scores, a function of the seed and the query's content."""

    name = "random"

    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """See ``Baseline.score``."""
        keys = [key for block in queries.blocks(self.batch_size) for key in block.keys]
        return normal([(self.seed, key) for key in keys], (len(train),)).to(self.device)


class PixelSimilarity(Baseline):
    """Cosine of the images' pixels."""

    name = "pixel similarity"

    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """See ``Baseline.score``."""
        sides = (normalize(self._pixels(source)) for source in (queries, train))
        return next(sides) @ next(sides).T

    def _pixels(self, source: ExampleSource) -> Tensor:
        blocks = source.blocks(self.batch_size)
        return torch.cat([block.samples.flatten(1).to(self.device) for block in blocks])


class PixelKernel(PixelSimilarity):
    """Kernel ridge regression on pixels, ``k(x, y) = exp(-|x - y|^2 / (m / 2))``, damping 1.

    ``m`` is the median squared distance of two training images. What a method on gradients must
    beat before it can claim to see more than likeness.
    """

    name = "pixel kernel"
    limit: ClassVar[Limit] = Limit(instead="pixel-similarity")

    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """See ``Baseline.score``."""
        self.limit.check(self.name, len(train))
        ours, theirs = wide(self._pixels(train)), wide(self._pixels(queries))
        own = torch.cdist(ours, ours).square()
        pairs = torch.triu_indices(len(own), len(own), min(1, len(own) - 1)).unbind()
        width = (own[pairs].median() / 2).clamp(min=torch.finfo(own.dtype).tiny)
        query_kernel = torch.exp(-torch.cdist(theirs, ours).square() / width)
        return kernel_weights(query_kernel, torch.exp(-own / width), damping=1.0)


class FeatureSimilarity(PixelSimilarity):
    """Cosine of the images' whitened principal components.

    Components are those of the training set, as many as hold ``SHARE`` of its variance.
    """

    name = "feature similarity"
    SHARE: ClassVar[float] = 0.9

    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """See ``Baseline.score``."""
        ours, theirs = self._pixels(train), self._pixels(queries)
        mean = ours.mean(0)
        _, singular, directions = torch.linalg.svd(ours - mean, full_matrices=False)
        held = (singular.square() / singular.square().sum()).cumsum(0)
        kept = 1 + int((held < self.SHARE).sum())
        whiten = directions[:kept].T / singular[:kept]
        return normalize((theirs - mean) @ whiten) @ normalize((ours - mean) @ whiten).T


class TrainingLoss(Baseline):
    """The training samples' own losses at the last checkpoint, for every query alike."""

    name = "training loss"

    def score(self, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """See ``Baseline.score``."""
        return self.self_influence(train.data).expand(len(queries), -1).clone()

    def self_influence(self, train: Examples) -> Tensor:
        """Return the training samples' losses, ``[train]``: they stand for any influence."""
        return mean_losses(
            self.model, self.checkpoints[-1], train, self.draws, self.batch_size, self.device
        )
