"""``TracInCP`` with its checkpoints loaded once and its gradients' norms kept or taken away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from captum.influence import TracInCP
from captum.influence._utils.common import KMostInfluentialResults, _format_inputs_dataset
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.embeddings import root_of_step_size
from retrac_plugin.frameworks.loading import Load, loaded_once
from retrac_plugin.gradients.row_norms import row_norms


class RescaledTracInCP(TracInCP):  # type: ignore[misc]  # captum's types are not read
    """``TracInCP`` that rescales gradients, loads a checkpoint once per call, and restores.

    Gradients of any memory layout will do: ``TracInCP`` itself fails on channels-last ones.
    """

    core: ClassVar[type[DiffusionAttributor]]
    """The core's method, which says what becomes of a gradient's norm."""

    checkpoints_load_func: Load

    def influence(
        self,
        inputs: Any,
        k: int | None = None,
        proponents: bool = True,
        show_progress: bool = False,
        aggregate: bool = False,
    ) -> Tensor | KMostInfluentialResults:
        """See ``TracInCP.influence``."""
        with self._loaded_once():
            return super().influence(inputs, k, proponents, show_progress, aggregate)

    def self_influence(
        self,
        inputs: Any = None,
        show_progress: bool = False,
        outer_loop_by_checkpoints: bool = False,
    ) -> Tensor:
        """See ``TracInCP.self_influence``."""
        with self._loaded_once():
            scores: Tensor = super().self_influence(
                inputs, show_progress, outer_loop_by_checkpoints
            )
        return scores

    def compute_intermediate_quantities(
        self, inputs: Any, aggregate: bool = False, *, test: bool = False
    ) -> Tensor:
        """Return vectors whose inner products are scores, see ``DiffusionTracInCP``."""
        loss_fn, reduction = self.loss_fn, self.reduction_type
        if test:
            loss_fn, reduction = self.test_loss_fn, self.test_reduction_type
        jacobians = self._sum_jacobians if aggregate else self._concat_jacobians
        batches, columns = _format_inputs_dataset(inputs), []
        with self._loaded_once():
            for checkpoint in self.checkpoints:
                factor = root_of_step_size(self.checkpoints_load_func(self.model, checkpoint))
                parts = [part.flatten(1) for part in jacobians(batches, loss_fn, reduction)]
                columns.append(factor * torch.cat(parts, dim=1))
        return torch.cat(columns, dim=1)

    def _basic_computation_tracincp(
        self,
        inputs: tuple[Any, ...],
        targets: Tensor | None = None,
        loss_fn: Any = None,
        reduction_type: str | None = None,
    ) -> tuple[Tensor, ...]:
        """Return each parameter's gradients ``[sample, *parameter]``: all scores pass here."""
        parts = super()._basic_computation_tracincp(inputs, targets, loss_fn, reduction_type)
        for parameter in self.model.parameters():
            # Captum leaves these behind, and takes an old batch's for gradients it cannot compute.
            vars(parameter).pop("sample_grad", None)
        flat = [part.flatten(1) for part in parts]
        norms = row_norms(torch.stack([row_norms(part) for part in flat], dim=1))
        factors = self.core.method.rescale(norms)[:, None]
        return tuple((f * factors).view(p.shape) for f, p in zip(flat, parts, strict=True))

    @contextmanager
    def _loaded_once(self) -> Iterator[None]:
        load = self.checkpoints_load_func
        with loaded_once(self.model, load) as self.checkpoints_load_func:
            try:
                yield
            finally:
                self.checkpoints_load_func = load
