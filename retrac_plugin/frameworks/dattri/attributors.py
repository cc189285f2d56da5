"""Diffusion-TracIn and Diffusion-ReTrac as attributors of dattri."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from dattri.algorithm.base import BaseAttributor
from dattri.task import AttributionTask
from torch import Tensor
from torch.utils.data import DataLoader

from retrac_plugin.attribution.attributors import (
    DiffusionAttributor,
    DiffusionReTrac,
    DiffusionTracIn,
)
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri import features
from retrac_plugin.frameworks.dattri.arguments import (
    attributing,
    check_no_draws,
    check_normalized,
    diffusion_task,
    takes_norms_away,
    weighted,
)
from retrac_plugin.frameworks.dattri.plain import plain_attributor
from retrac_plugin.frameworks.dattri.projection import projection
from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.gradients.engine import EngineFactory


class DiffusionBaseAttributor(BaseAttributor):  # type: ignore[misc]  # dattri is untyped
    """What the two attributors share: everything but ``core``.

    Loaders are over examples, or over what ``DiffusionAttributionTask.drawn`` returns; then the
    draws are those of the data. Plain lists and datasets serve too. No loader may shuffle.

    Args:
        task: A ``DiffusionAttributionTask``. With any other task of dattri's this is dattri's own
            TracIn, gradient norms kept or taken away, projected only if that is asked for; what
            follows ``device`` is then not used.
        weight_list: One weight for each checkpoint. Default: the checkpoints' step sizes.
        normalized_grad: In the place of dattri's own: false for Diffusion-TracIn, true for
            Diffusion-ReTrac, or None.
        projector_kwargs: Settings of dattri's random projection, such as ``{"proj_dim": 4096}``.
            Default: none, and exact scores.
        layer_name: Names of the attributed parameters, or patterns of them. Default: all trainable.
        device: Where to compute. Default: where the network is.
        proj_params: As ``projector_kwargs``, in dattri's later layout.
        train_draws: Timestep and noise of each training sample, see ``DiffusionTracIn``.
        query_draws: Timesteps and noise of each query.
        batch_size: Samples per network pass, whatever the loaders' own; changes no score.
        progress: Show a progress bar; default: on a terminal.
        engine: What computes gradients.
        cache_bytes: How much ``cache`` may keep.

    Raises:
        InputError: If an argument is not what it should be.
    """

    core: ClassVar[type[DiffusionAttributor]]

    def __init__(  # noqa: PLR0913 dattri's arguments, then those of the core
        self,
        task: DiffusionAttributionTask,
        weight_list: Sequence[float] | Tensor | None = None,
        normalized_grad: bool | None = None,
        projector_kwargs: Mapping[str, Any] | None = None,
        layer_name: str | Sequence[str] | None = None,
        device: str | torch.device | None = None,
        *,
        proj_params: Any = None,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        progress: bool | None = None,
        engine: EngineFactory | None = None,
        cache_bytes: int = 2**32,
    ) -> None:
        check_normalized(normalized_grad, self.core)
        self._plain = None
        if isinstance(task, AttributionTask) and not isinstance(task, DiffusionAttributionTask):
            check_no_draws(train_draws=train_draws, query_draws=query_draws)
            self._plain = plain_attributor(
                task,
                weight_list,
                takes_norms_away(self.core),
                projector_kwargs if projector_kwargs is not None else proj_params,
                layer_name,
                device,
            )
            self.task, self.device = task, self._plain.device
            return
        self.task = diffusion_task(task)
        self.layer_name, self.device = layer_name, device
        self._model = attributing(task.diffusion, layer_name)
        self._checkpoints = weighted(task.get_checkpoints(), weight_list)
        self._options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        if engine is not None:
            self._options["engine"] = engine
        self._draws = {"train": train_draws, "query": query_draws}
        self.device = self._core().device
        self._project = projection(projector_kwargs, proj_params, self.device)
        self._cache_bytes = cache_bytes
        self._kept: features.TrainFeatures | None = None

    def cache(self, full_train_dataloader: Examples = None) -> None:
        """Compute and keep all training gradients; later calls compute none of them.

        Args:
            full_train_dataloader: The training set, of which later calls may take any part. Without
                one nothing is kept, as by dattri's TracIn.

        Raises:
            RetracError: If they need more than ``cache_bytes``, or a sample cannot be used.
        """
        if full_train_dataloader is None or self._plain is not None:
            return
        train, draws = self._read(full_train_dataloader, "train")
        core = self._core(train_draws=draws)
        self._kept = features.keep(core, train, self._project, self._cache_bytes)

    def attribute(self, train_dataloader: Examples, test_dataloader: Examples) -> Tensor:
        """Return the influence of every training sample on every test sample, ``[train, test]``.

        Args:
            train_dataloader: The training set; after ``cache``, any part of the one cached.
            test_dataloader: The samples to explain.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        if self._plain is not None:
            with torch.no_grad():
                return self._plain.attribute(train_dataloader, test_dataloader)  # type: ignore[no-any-return]
        train, train_draws = self._read(train_dataloader, "train")
        queries, query_draws = self._read(test_dataloader, "query")
        core = self._core(train_draws=train_draws, query_draws=query_draws)
        kept = self._kept
        if kept is None and self._project is None:
            return core.attribute(train, queries).values.T
        if kept is None:
            kept = features.keep(core, train, self._project, self._cache_bytes)
        return features.score(core, kept, train, queries, self._project).T

    def self_attribute(
        self, train_dataloader: Examples, query_draws: Draws | None = None
    ) -> Tensor:
        """Return the influence of every training sample on itself, ``[train]``; never projected.

        Args:
            train_dataloader: The training set.
            query_draws: Timesteps and noise of a sample in its role as a test sample. Default:
                those of its training; what others cost, ``DiffusionTracIn.self_influence`` says.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        if self._plain is not None:
            raise InputError(
                "self_attribute needs a DiffusionAttributionTask: dattri's own is wrong for "
                "loaders of several batches"
            )
        train, draws = self._read(train_dataloader, "train")
        core = self._core(train_draws=draws)
        if self._kept is not None and query_draws is None:
            return features.self_score(core, self._kept, train)
        return core.self_influence(train, query_draws)

    def _core(
        self, train_draws: Draws | None = None, query_draws: Draws | None = None
    ) -> DiffusionAttributor:
        return self.core(
            self._model,
            self._checkpoints,
            train_draws=train_draws,
            query_draws=query_draws,
            device=self.device,
            **self._options,
        )

    def _read(self, data: Examples, side: str) -> tuple[Examples, Draws | None]:
        """Return the examples of ``data``, and the draws they came with or else our own."""
        own = self._draws[side]
        drawn = data.dataset if isinstance(data, DataLoader) else data
        if not isinstance(drawn, DrawnExamples):
            return data, own
        if drawn.side != side or own not in (None, drawn.draws):
            raise InputError(
                f"expected data drawn for the {side} side, and {side}_draws to be those of the "
                f"data or None, got data drawn for the {drawn.side} side and {own}"
            )
        if data is drawn:
            return drawn.examples, drawn.draws
        if data.batch_sampler is None:
            return data, drawn.draws  # a loader without batches, which the core refuses
        return DataLoader(drawn.examples, batch_sampler=data.batch_sampler), drawn.draws


class DiffusionTracInAttributor(DiffusionBaseAttributor):
    """Diffusion-TracIn, norms kept; takes the arguments of ``DiffusionBaseAttributor``."""

    core = DiffusionTracIn


class DiffusionReTracAttributor(DiffusionBaseAttributor):
    """Diffusion-ReTrac: Diffusion-TracIn with every gradient's norm taken away.

    Takes the arguments of ``DiffusionBaseAttributor``. With a projection, gradients are normalised
    before it, by their exact norms; dattri's own ``normalized_grad`` normalises after it.
    """

    core = DiffusionReTrac
