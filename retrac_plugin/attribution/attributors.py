"""Diffusion-TracIn and Diffusion-ReTrac.

``tau(q, i) = sum_k eta_k < r(g_i^k), 1/|T| sum_t r(gbar_t^k(q)) >``, where ``g_i^k`` is the
gradient of training sample ``i`` at checkpoint ``k``, ``gbar_t^k(q)`` the noise mean of query
``q``'s gradients at timestep ``t``, and ``r`` keeps their norms (TracIn) or takes them away
(ReTrac). Xie et al., "Data Attribution for Diffusion Models: Timestep-induced Bias in Influence
Estimation", TMLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from retrac_plugin.attribution.budget import as_bytes, within_memory
from retrac_plugin.attribution.matrix_files import mapped_zeros
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.planning import plan_for
from retrac_plugin.attribution.rescaling import DIFFUSION_RETRAC, DIFFUSION_TRACIN, Method
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.checkpoints.checkpoint import Checkpoint, check_checkpoints
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws, Recorded, Strided, Uniform
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.model.devices import usable_device
from retrac_plugin.model.diffusion import DiffusionModel, check_deterministic


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
        progress: bool | Callable[[int], Any] | None = None,
    ) -> None:
        if not isinstance(model, DiffusionModel):
            raise InputError(
                f"model: expected what retrac_plugin.wrap(network, scheduler) returns, got a "
                f"{type(model).__name__}"
            )
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        self.model = model
        self.checkpoints = check_checkpoints(checkpoints)
        self.train_draws: Draws = Uniform(1) if train_draws is None else train_draws
        self.query_draws: Draws = Strided(10, noise_draws=4) if query_draws is None else query_draws
        if isinstance(train_draws, Recorded) and None in [c.step for c in self.checkpoints]:
            raise InputError(
                "train_draws: recorded draws are found by a checkpoint's training step, and one of "
                "these has none. Write Checkpoint(parameters, step_size, step)"
            )
        self.batch_size = batch_size
        self.max_memory = None if max_memory is None else as_bytes(max_memory)
        self.device = _device(device, model)
        if query_store is not None and self.device.type != "cpu":
            raise InputError(
                f"query_store: files are mapped into the CPU's memory, and this runs on "
                f"{self.device}. Give max_memory instead: queries are then taken in blocks"
            )
        self.query_store = query_store
        self.engine = engine
        self.progress = progress

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the influence of every training sample on every query.

        Args:
            train: The training set, in the order in which it was trained and recorded.
            queries: The images to explain.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        return attribute_together([self], train, queries)[0]

    @within_memory()
    def self_influence(self, train: Examples, query_draws: Draws | None = None) -> Tensor:
        """Return the influence of every training sample on itself, ``[train]``.

        Args:
            train: The training set.
            query_draws: Timesteps and noise of a sample in its role as a query. Default: those it
                was trained with, ``sum_k eta_k <r(g_i^k), r(g_i^k)>``; for Diffusion-ReTrac that is
                the same number for every sample, so give ``query_draws`` there.
        """
        source = ExampleSource(train, "train")
        total = self.zeros(len(source))
        with self.bar(len(source)) as bar:
            for k, at in enumerate(self.passes(bar)):
                if query_draws is None:
                    nothing = torch.zeros(0, at.engine.width, dtype=at.dtype, device=at.device)
                    _, norms = at.train_products(source, self.train_draws, nothing)
                    products = norms * (norms * self.method.rescale(norms))
                else:
                    products, norms = at.own_products(
                        source, self.train_draws, query_draws, self.method.rescale
                    )
                total += self.checkpoints[k].step_size * products * self.method.rescale(norms)
        return total

    def passes(self, bar: Any, batch_size: int | None = None) -> Iterator[CheckpointPass]:
        """Yield every checkpoint, loaded in its turn and not kept; ``bar`` counts the samples."""
        check_deterministic(self.model.network)
        for position, checkpoint in enumerate(self.checkpoints):
            yield CheckpointPass(
                self.model,
                checkpoint,
                position,
                self.engine,
                self.device,
                batch_size or self.batch_size,
                bar.update,
            )

    def bar(self, samples: int) -> Any:
        """Return the progress bar, a context manager, for ``samples`` at every checkpoint."""
        total = samples * len(self.checkpoints)
        if callable(self.progress):
            return self.progress(total)
        disable = None if self.progress is None else not self.progress
        return tqdm(total=total, desc=self.method.name, unit="sample", disable=disable, leave=False)

    def zeros_for(self, at: CheckpointPass) -> Callable[..., Tensor] | None:
        """Return what makes the matrix of query gradients, None for memory."""
        if self.query_store is None:
            return None
        return partial(mapped_zeros, self.query_store, dtype=at.dtype)

    def zeros(self, *shape: int) -> Tensor:
        """Return scores of 0, in the model's floating type but never in less than float32."""
        own = next(self.model.network.parameters()).dtype
        return torch.zeros(
            *shape, dtype=torch.promote_types(own, torch.float32), device=self.device
        )


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
        attributors: They may differ in nothing but their method.
        train: The training set.
        queries: The images to explain.

    Raises:
        InputError: If the attributors differ in model, checkpoints or draws.
    """
    first = attributors[0]
    for other in attributors[1:]:
        shared = ("model", "checkpoints", "train_draws", "query_draws", "device")
        differing = [name for name in shared if getattr(other, name) != getattr(first, name)]
        if differing:
            raise InputError(f"attributors must share {', '.join(differing)} to share gradients")
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    sizes = len(sources[1]), len(sources[0])
    values = first.zeros(len(attributors), *sizes)
    norms = first.zeros(len(first.checkpoints), sizes[1])
    rescalings = [attributor.method.rescale for attributor in attributors]
    fallbacks: dict[str, str] = {}
    plan = plan_for(first, sources[0], sizes[0], len(attributors))
    with first.bar(plan.samples(sizes[1], sizes[0])) as bar:
        for k, at in enumerate(first.passes(bar, plan.batch_size)):
            start = 0
            for gradients in at.query_blocks(
                sources[1], first.query_draws, rescalings, plan.queries_at_once, first.zeros_for(at)
            ):
                products, norms[k] = at.train_products(
                    sources[0], first.train_draws, gradients.flatten(0, 1)
                )
                products = products.T.reshape(*gradients.shape[:2], -1)
                stop = start + gradients.shape[1]
                for total, rescale, part in zip(values, rescalings, products, strict=True):
                    scaled = first.checkpoints[k].step_size * part * rescale(norms[k])
                    total[start:stop] += scaled
                start = stop
            fallbacks |= at.engine.fallbacks()
    return [
        Scores(total, norms, _about(attributor) | {"fallbacks": fallbacks})
        for total, attributor in zip(values, attributors, strict=True)
    ]


def _about(attributor: DiffusionAttributor) -> dict[str, Any]:
    sizes = {name: p.numel() for name, p in attributor.model.network.named_parameters()}
    names = attributor.model.attributed_names()
    return {
        "method": attributor.method.name,
        "attributed_parameters": sum(sizes[name] for name in names),
        "of_parameters": sum(sizes.values()),
        "train_draws": type(attributor.train_draws).__name__,
        "query_draws": type(attributor.query_draws).__name__,
        "checkpoint_steps": [checkpoint.step for checkpoint in attributor.checkpoints],
        "step_sizes": [checkpoint.step_size for checkpoint in attributor.checkpoints],
    }


def _device(device: str | torch.device | None, model: DiffusionModel) -> torch.device:
    if device is None:
        return next(model.network.parameters()).device
    return usable_device(device)
