"""Diffusion-TracIn and Diffusion-ReTrac.

``tau(q, i) = sum_k eta_k < r(g_i^k), 1/|T| sum_t r(gbar_t^k(q)) >``, where ``g_i^k`` is the
gradient of training sample ``i`` at checkpoint ``k``, ``gbar_t^k(q)`` the noise mean of query
``q``'s gradients at timestep ``t``, and ``r`` keeps their norms (TracIn) or takes them away
(ReTrac). Xie et al., "Data Attribution for Diffusion Models: Timestep-induced Bias in Influence
Estimation", TMLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.budget import Needs, Plan, as_bytes
from retrac_plugin.attribution.matrix_files import mapped_zeros
from retrac_plugin.attribution.overriding import does_otherwise
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.planning import needs_of
from retrac_plugin.attribution.query_side import query_blocks
from retrac_plugin.attribution.rescaling import DIFFUSION_RETRAC, DIFFUSION_TRACIN, Method
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.attribution.setting import Progress, Setting
from retrac_plugin.attribution.train_side import own_products, train_products
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws, Recorded, Strided, Uniform
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
        max_memory: Bytes, or such as ``"4GB"``: what to take beside the network and the data.
            Batches and blocks of queries are cut to fit, and each block costs one pass over the
            training set; see ``budget``. Default: as much as the queries' gradients need.
        query_store: A folder for the queries' gradients where they do not fit in memory; they lie
            there in a temporary file, and one pass over the training set is enough. CPU only.
        device: Where to compute; default: where the network is. The network is not moved.
        engine: What computes gradients.
        progress: Show a progress bar; default: on a terminal. Or what makes one for so many
            samples: a context manager with ``update(samples)``.

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
        self.setting = Setting.build(model, checkpoints, batch_size, device, engine, progress)
        self.train_draws: Draws = Uniform(1) if train_draws is None else train_draws
        self.query_draws: Draws = Strided(10, noise_draws=4) if query_draws is None else query_draws
        if isinstance(train_draws, Recorded) and None in [c.step for c in self.checkpoints]:
            raise InputError(
                "train_draws: recorded draws are found by a checkpoint's training step, and one of "
                "these has none. Write Checkpoint(parameters, step_size, step)"
            )
        self.max_memory = None if max_memory is None else as_bytes(max_memory)
        if query_store is not None and self.device.type != "cpu":
            raise InputError(
                f"query_store: files are mapped into the CPU's memory, and this runs on "
                f"{self.device}. Give max_memory instead: queries are then taken in blocks"
            )
        self.query_store = query_store

    @property
    def model(self) -> DiffusionModel:
        """The diffusion model."""
        return self.setting.model

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """Its checkpoints."""
        return self.setting.checkpoints

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
        return _attribute_sharing([self], train, queries)[0]

    def self_influence(self, train: Examples, query_draws: Draws | None = None) -> Tensor:
        """Return the influence of every training sample on itself, ``[train]``.

        Args:
            train: The training set.
            query_draws: Timesteps and noise of a sample in its role as a query. Default: those it
                was trained with, ``sum_k eta_k <r(g_i^k), r(g_i^k)>``; for Diffusion-ReTrac that is
                the same number for every sample, so give ``query_draws`` there.
        """
        source = ExampleSource(train, "train")
        total = self.setting.zeros(len(source))
        with self.bar(len(source)) as bar:
            for at in self.setting.passes(bar.update):
                if query_draws is None:
                    nothing = at.zeros(0, at.engine.width)
                    _, norms = train_products(at, source, self.train_draws, nothing)
                    products = norms * (norms * self.method.rescale(norms))
                else:
                    products, norms = own_products(
                        at, source, self.train_draws, query_draws, self.method.rescale
                    )
                total += at.checkpoint.step_size * products * self.method.rescale(norms)
        return total

    def bar(self, samples: int) -> Any:
        """Return the progress bar, a context manager, for ``samples`` at every checkpoint."""
        return self.setting.bar(samples * len(self.checkpoints), self.method.name)

    def plan(self, train: ExampleSource, queries: int, matrices: int, weights: int = 1) -> Plan:
        """Return how to cut a job to what ``max_memory`` allows; without it, nothing is cut.

        Args:
            train: The training set.
            queries: How many there are.
            matrices: Gradients to be held for each query.
            weights: Checkpoints to be held together.

        Raises:
            InputError: If not even one query fits.
        """
        if self.max_memory is None:
            return Plan(self.setting.batch_size, queries)
        needs = self.needs(train, matrices, weights)
        return needs.plan(self.max_memory, self.setting.batch_size, queries)

    def needs(self, train: ExampleSource, matrices: int, weights: int = 1) -> Needs:
        """Return what a job takes; see ``plan``."""
        held = 0 if self.query_store else matrices
        draws = self.train_draws, self.query_draws
        return needs_of(self.setting, train, *draws, held, weights)

    def zeros_for(self, at: CheckpointPass) -> Callable[..., Tensor] | None:
        """Return what makes the matrix of query gradients, None for memory."""
        if self.query_store is None:
            return None
        return partial(mapped_zeros, self.query_store, dtype=at.dtype)

    def differences(self, other: DiffusionAttributor) -> list[str]:
        """Return in what, of all that decides gradients, another one differs."""
        draws = ("train_draws", "query_draws")
        found = [name for name in draws if getattr(self, name) != getattr(other, name)]
        return [*self.setting.differences(other.setting), *found]

    def about(self) -> dict[str, Any]:
        """Return how scores are made, to be written along."""
        sizes = {name: p.numel() for name, p in self.model.network.named_parameters()}
        names = self.model.attributed_names()
        return {
            "method": self.method.name,
            "attributed_parameters": sum(sizes[name] for name in names),
            "of_parameters": sum(sizes.values()),
            "train_draws": type(self.train_draws).__name__,
            "query_draws": type(self.query_draws).__name__,
            "checkpoint_steps": [checkpoint.step for checkpoint in self.checkpoints],
            "step_sizes": [checkpoint.step_size for checkpoint in self.checkpoints],
        }


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
    shared = iter(_attribute_sharing(sharing, train, queries) if sharing else [])
    return [
        each.attribute(train, queries) if scores_by_itself(each) else next(shared)
        for each in attributors
    ]


def scores_by_itself(attributor: DiffusionAttributor) -> bool:
    """Whether an attributor overrides how scores are made, in more than ``method``."""
    free = {"method", "about", "self_influence"}
    names = [n for n in vars(DiffusionAttributor) if not n.startswith("__") and n not in free]
    return does_otherwise(attributor, DiffusionAttributor, *names)


def _attribute_sharing(
    attributors: Sequence[DiffusionAttributor], train: Examples, queries: Examples
) -> list[Scores]:
    first = attributors[0]
    for other in attributors[1:]:
        differing = first.differences(other)
        if differing:
            raise InputError(f"attributors must share {', '.join(differing)} to share gradients")
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    sizes = len(sources[1]), len(sources[0])
    values = first.setting.zeros(len(attributors), *sizes)
    norms = first.setting.zeros(len(first.checkpoints), sizes[1])
    rescalings = [attributor.method.rescale for attributor in attributors]
    fallbacks: dict[str, str] = {}
    plan = first.plan(sources[0], sizes[0], len(attributors))
    with first.bar(plan.samples(sizes[1], sizes[0])) as bar:
        for k, at in enumerate(first.setting.passes(bar.update, plan.batch_size)):
            start = 0
            for gradients in query_blocks(
                at,
                sources[1],
                first.query_draws,
                rescalings,
                plan.queries_at_once,
                first.zeros_for(at),
            ):
                products, norms[k] = train_products(
                    at, sources[0], first.train_draws, gradients.flatten(0, 1)
                )
                products = products.T.reshape(*gradients.shape[:2], -1)
                stop = start + gradients.shape[1]
                for total, rescale, part in zip(values, rescalings, products, strict=True):
                    total[start:stop] += at.checkpoint.step_size * part * rescale(norms[k])
                start = stop
            fallbacks |= at.engine.fallbacks()
    return [
        Scores(total, norms, attributor.about() | {"fallbacks": fallbacks})
        for total, attributor in zip(values, attributors, strict=True)
    ]
