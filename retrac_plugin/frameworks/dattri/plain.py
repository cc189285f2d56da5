"""dattri's own TracIn, for tasks that are of no diffusion model, gradient norms kept or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dattri.algorithm import TracInAttributor
from dattri.task import AttributionTask
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri.projection import settings_of
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
        task: A task of dattri's. A checkpoint that is the network's own memory, as of
            ``network.state_dict()``, is copied there: dattri loads every checkpoint into it.
        weight_list: One weight for each checkpoint; None for 1.
        normalized_grad: Whether the norms of gradients are taken away.
        projection: Settings of dattri's random projection; None for none.
        layer_name: As dattri takes it.
        device: Likewise; None for where the network is.

    Raises:
        InputError: If a setting of the projection is unknown, or several checkpoints are the
            network's own memory and so one and the same.
    """
    settings = IDENTITY if projection is None else settings_of(projection)
    _keep_checkpoints(task)
    count = len(task.get_checkpoints())
    weights = torch.ones(count) if weight_list is None else torch.as_tensor(weight_list)
    device = next(task.get_model().parameters()).device if device is None else device
    made = TracInAttributor(
        task, weights, normalized_grad, layer_name=layer_name, device=str(device)
    )
    set_projection(made, settings)
    return made


def _keep_checkpoints(task: AttributionTask) -> None:
    """Copy the checkpoint of a task that loading another one would write over."""
    own = {_memory(value) for value in task.model.state_dict().values() if value.numel()}
    live = [
        position
        for position, checkpoint in enumerate(task.checkpoints)
        if isinstance(checkpoint, Mapping)
        and any(isinstance(v, Tensor) and _memory(v) in own for v in checkpoint.values())
    ]
    if len(live) > 1:
        raise InputError(
            f"checkpoints {live} are the network's own memory, so that all are its weights of now: "
            "collect copies, copy.deepcopy(network.state_dict())"
        )
    for position in live:
        copies = {name: value.clone() for name, value in task.checkpoints[position].items()}
        task.checkpoints = [*task.checkpoints[:position], copies, *task.checkpoints[position + 1 :]]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
