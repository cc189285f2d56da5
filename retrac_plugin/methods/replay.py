"""Diffusion-ReTrac with every recorded visit replayed, not only the last before a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.features import UNIT_PER_DRAW, features_of
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.rescaling import unit_norm
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draw, Draws, Recorded, Request, Strided, Uniform
from retrac_plugin.errors import TraceError
from retrac_plugin.gradients.engine import Features
from retrac_plugin.methods.base import GradientMethod
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.diffusion import NoisyBatch
from retrac_plugin.trace.trace import Trace


@dataclass(frozen=True, eq=False)
class VisitsBetween:
    """Every timestep and noise with which samples were trained in a stretch of training.

    Attributes:
        trace: What training recorded.
        start: First training step of the stretch.
        stop: Training step after its last.

    Raises:
        TraceError: When asked for draws, if not all samples were visited equally often.
    """

    trace: Trace
    start: int
    stop: int

    @cached_property
    def visits(self) -> Tensor:
        """Positions in the trace, ``[sample, visit]``."""
        steps = self.trace.steps
        inside = ((steps >= self.start) & (steps < self.stop)).nonzero()[:, 0]
        counts = self.trace.ids[inside].bincount(minlength=self.trace.num_samples)
        fewest, most = int(counts.min()), int(counts.max())
        if fewest != most or most == 0:
            raise TraceError(
                f"between steps {self.start} and {self.stop} samples were visited {fewest} to "
                f"{most} times: to replay every visit, use checkpoints saved after whole epochs"
            )
        order = self.trace.ids[inside].argsort(stable=True)
        return inside[order].view(-1, most)

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return self.visits.shape[1], 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        self.trace.check_dataset(request.dataset_size, request.ids, request.keys, request.encoded)
        visits = self.visits[request.ids]
        noise = self.trace.noise(visits.flatten(), request.shape)
        return Draw(self.trace.timesteps[visits], noise.view(*visits.shape, 1, *request.shape))


class ReplayedReTrac(GradientMethod):
    """Diffusion-ReTrac whose train side is the mean of all its visits' directions.

    ``sum_k eta_k < mean_v g(theta_k; v)/|g(theta_k; v)|, query side >``, where ``v`` runs over the
    recorded visits of a sample since the checkpoint before; the query side is ReTrac's own. Where
    training was not recorded ``v`` runs over the draws of ``train_draws``.

    Args:
        *args: See ``GradientMethod``; checkpoints saved after whole epochs, where training was
            recorded. All visits of a sample share a network pass, and nothing is projected.
        train_draws: ``Recorded(trace)``, or draws to take in its place. Default: ``Uniform(1)``.
        **options: See ``GradientMethod``; ``query_draws`` as in ``DiffusionReTrac``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name = "Diffusion-ReTrac, replay"
    draws_alike: ClassVar[bool] = False
    draws: ClassVar[Draws] = Strided(10, noise_draws=4)

    def __init__(self, *args: Any, train_draws: Draws | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.train_draws: Draws = Uniform(1) if train_draws is None else train_draws

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """See ``GradientMethod.attribute``; the training set as it was trained and recorded."""
        check_deterministic(self.setting.model.network)
        sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
        samples = sum(map(len, sources)) * len(self.setting.checkpoints)
        with self.setting.computing.bar(samples, "visits") as bar:
            parts = [
                checkpoint.step_size * self._of_checkpoint(k, *sources, bar)
                for k, checkpoint in enumerate(self.setting.checkpoints)
            ]
        about: dict[str, Any] = {"method": self.name, "passes": self._passes(*sources)}
        return Scores(sum(parts[1:], parts[0]), about=about)

    def _of_checkpoint(
        self, k: int, train: ExampleSource, queries: ExampleSource, bar: Any
    ) -> Tensor:
        at = self.setting.computing.at(k, bar.update)
        query = query_gradients(at, queries, self.setting.draws, [unit_norm])[0]

        def on_queries(batches: Iterable[NoisyBatch], draws: int) -> Iterator[Features]:
            for found in at.engine.products(batches, draws, query):
                yield Features(found.losses, found.dots, found.norms)

        parts = features_of(at, train, self._visits(k), "train", UNIT_PER_DRAW, on_queries)
        return torch.cat([part.features for part in parts]).T

    def _visits(self, k: int) -> Draws:
        if not isinstance(self.train_draws, Recorded):
            return self.train_draws
        steps = [checkpoint.step for checkpoint in self.setting.checkpoints]
        stop = steps[k]
        if stop is None:
            raise TraceError(f"checkpoint {k} has no step, so its visits cannot be found")
        before = max((step for step in steps if step is not None and step < stop), default=0)
        return VisitsBetween(self.train_draws.trace, before, stop)

    def _passes(self, train: ExampleSource, queries: ExampleSource) -> int:
        timesteps_each, noise_each = self.setting.draws.per_sample()
        checkpoints = range(len(self.setting.checkpoints))
        visits = sum(math.prod(self._visits(k).per_sample()) for k in checkpoints)
        query_side = len(queries) * timesteps_each * noise_each * len(checkpoints)
        return len(train) * visits + query_side
