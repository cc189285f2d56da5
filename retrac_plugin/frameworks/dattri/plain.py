"""dattri's own TracIn, for tasks that are of no diffusion model, gradient norms kept or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dattri.algorithm import TracInAttributor
from dattri.task import AttributionTask
from torch import Tensor

from retrac_plugin.frameworks.dattri.scoring import IDENTITY, set_projection


def plain_attributor(
    task: AttributionTask,
    weight_list: Sequence[float] | Tensor | None,
    normalized_grad: bool,
    projection: Mapping[str, Any] | None,
    layer_name: Any,
    device: Any,
) -> TracInAttributor:
    """Return dattri's TracIn or Grad-Cos of a task.

    Args:
        task: A task of dattri's.
        weight_list: One weight for each checkpoint; None for 1.
        normalized_grad: Whether the norms of gradients are taken away.
        projection: Settings of dattri's random projection; None for none.
        layer_name: As dattri takes it.
        device: Likewise; None for where the network is.
    """
    count = len(task.get_checkpoints())
    weights = torch.ones(count) if weight_list is None else torch.as_tensor(weight_list)
    device = next(task.get_model().parameters()).device if device is None else device
    made = TracInAttributor(
        task, weights, normalized_grad, layer_name=layer_name, device=str(device)
    )
    set_projection(made, IDENTITY if projection is None else projection)
    return made
