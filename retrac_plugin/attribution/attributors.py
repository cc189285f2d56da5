"""Diffusion-TracIn and Diffusion-ReTrac.

``tau(q, i) = sum_k eta_k < r(g_i^k), 1/|T| sum_t r(gbar_t^k(q)) >``, where ``g_i^k`` is the
gradient of training sample ``i`` at checkpoint ``k``, ``gbar_t^k(q)`` the noise mean of query
``q``'s gradients at timestep ``t``, and ``r`` keeps their norms (TracIn) or takes them away
(ReTrac). Xie et al., "Data Attribution for Diffusion Models: Timestep-induced Bias in Influence
Estimation", TMLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.budget import within_memory
from retrac_plugin.attribution.job import Job
from retrac_plugin.attribution.overriding import does_otherwise
from retrac_plugin.attribution.rescaling import DIFFUSION_RETRAC, DIFFUSION_TRACIN, Method
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.attribution.scoring import score
from retrac_plugin.attribution.setting import Progress, Setting
from retrac_plugin.attribution.train_side import kept_norms, own_products
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.model.diffusion import DiffusionModel


class DiffusionAttributor:
    """What the two methods share: everything but ``method``.

    Args:
        model: The diffusion model, from ``retrac_plugin.wrap``.
        checkpoints: At least one; each is loaded once per call, one at a time.
        train_draws: Timestep and noise of each training sample. Default: ``Uniform(1)``; pass
            ``Recorded(trace)`` where training was recorded.
        query_draws: Timesteps and noise of each query. Default: ``Strided(10, noise_draws=4)``.
        batch_size: Samples per network pass, at most; changes cost, never a score.
        max_memory: Bytes, or such as ``"4GB"``, to take beside the network and the data: batches
            and blocks of queries are cut to fit, and each block costs one pass over the training
            set; see ``budget``. Default: as much as the queries' gradients need.
        query_store: A folder for the queries' gradients, where they do not fit in memory: they lie
            there in a temporary file. CPU only.
        device: Where to compute; default: where the network is, which is not moved.
        engine: What computes gradients.
        progress: Show a progress bar; default: on a terminal; or what makes one, see ``Setting``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    method: ClassVar[Method]

    def __init__(  # noqa: PLR0913 all but two are named when given
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        *,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        max_memory: int | str | None = None,
        query_store: str | Path | None = None,
        device: str | torch.device | None = None,
        engine: EngineFactory = StreamedEngine,
        progress: Progress = None,
    ) -> None:
        setting = Setting.build(model, checkpoints, batch_size, device, engine, progress)
        self.job = Job.build(setting, train_draws, query_draws, max_memory, query_store)

    @property
    def setting(self) -> Setting:
        """The model and its checkpoints, and how gradients are taken."""
        return self.job.setting

    @property
    def model(self) -> DiffusionModel:
        """The diffusion model."""
        return self.setting.model

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """Its checkpoints."""
        return self.setting.checkpoints

    @property
    def train_draws(self) -> Draws:
        """Timesteps and noise of the training samples."""
        return self.job.train_draws

    @property
    def query_draws(self) -> Draws:
        """Those of the queries."""
        return self.job.query_draws

    @property
    def device(self) -> torch.device:
        """Where gradients are computed."""
        return self.setting.device

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the influence of every training sample on every query.

        Args:
            train: The training set, in the order in which it was trained and recorded.
            queries: The images to explain.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        return _share([self], train, queries)[0]

    @within_memory()
    def self_influence(self, train: Examples, query_draws: Draws | None = None) -> Tensor:
        """Return the influence of every training sample on itself, ``[train]``.

        With ``query_draws`` of ``T`` timesteps and ``S`` noise draws it costs ``T * S`` network
        passes a sample and checkpoint beside the one of its training draw: 41 in all under
        ``Strided(10, noise_draws=4)``, where an attribution takes one.

        Args:
            train: The training set.
            query_draws: Timesteps and noise of a sample in its role as a query. Default: those it
                was trained with, ``sum_k eta_k <r(g_i^k), r(g_i^k)>``; for Diffusion-ReTrac that is
                the same number for every sample, so give ``query_draws`` there.
        """
        source = ExampleSource(train, "train")
        total = self.setting.zeros(len(source))
        sides = 1 if query_draws is None else 2
        with self.bar(sides * len(source)) as bar:
            for at in self.setting.passes(bar.update):
                if query_draws is None:
                    norms = kept_norms(at, source, self.train_draws)
                    products = norms * (norms * self.method.rescale(norms))
                else:
                    products, norms = own_products(
                        at, source, self.train_draws, query_draws, self.method.rescale
                    )
                total += at.checkpoint.step_size * products * self.method.rescale(norms)
                del at  # or this checkpoint's weights stay while the next one loads
        return total

    def bar(self, samples: int) -> Any:
        """Return the progress bar, a context manager, for ``samples`` at every checkpoint."""
        return self.setting.bar(samples * len(self.checkpoints), self.method.name)

    def about(self) -> dict[str, Any]:
        """Return how scores are made, to be written along."""
        return {"method": self.method.name, **self.job.about()}


class DiffusionTracIn(DiffusionAttributor):
    """TracIn over timesteps: inner products of gradients, norms kept."""

    method = DIFFUSION_TRACIN


class DiffusionReTrac(DiffusionAttributor):
    """TracIn over timesteps with every gradient's norm taken away.

    The train gradient is normalised per sample and checkpoint; the query gradient per timestep,
    after its noise draws are averaged and before its timesteps are. Always over all attributed
    parameters together. A zero gradient contributes 0.
    """

    method = DIFFUSION_RETRAC


@within_memory()
def attribute_together(
    attributors: Sequence[DiffusionAttributor], train: Examples, queries: Examples
) -> list[Scores]:
    """Return the scores of several methods for the gradients of one.

    Args:
        attributors: They may differ in nothing but their method; a subclass that overrides how
            scores are made is asked by itself.
        train: The training set.
        queries: The images to explain.

    Raises:
        InputError: If the attributors differ in model, checkpoints or draws.
    """
    sharing = [each for each in attributors if not scores_by_itself(each)]
    shared = iter(_share(sharing, train, queries) if sharing else [])
    return [
        each.attribute(train, queries) if scores_by_itself(each) else next(shared)
        for each in attributors
    ]


def scores_by_itself(attributor: DiffusionAttributor) -> bool:
    """Whether an attributor overrides how scores are made, in more than ``method``."""
    free = {"method", "about", "self_influence"}
    names = [n for n in vars(DiffusionAttributor) if not n.startswith("__") and n not in free]
    return does_otherwise(attributor, DiffusionAttributor, *names)


def _share(
    attributors: Sequence[DiffusionAttributor], train: Examples, queries: Examples
) -> list[Scores]:
    first = attributors[0]
    for other in attributors[1:]:
        differing = first.job.differences(other.job)
        if differing:
            raise InputError(f"attributors must share {', '.join(differing)} to share gradients")
    found = score(first.job, [each.method for each in attributors], train, queries)
    return [
        Scores(values, found.norms, each.about() | {"fallbacks": found.fallbacks})
        for values, each in zip(found.values, attributors, strict=True)
    ]
