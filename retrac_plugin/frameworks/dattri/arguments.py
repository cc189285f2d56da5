"""What the arguments of a dattri attributor mean for ours, and which contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, DiffusionReTrac
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
from retrac_plugin.model.diffusion import DiffusionModel


def diffusion_task(task: Any) -> DiffusionAttributionTask:
    """Return a task of a diffusion model whose output function is the loss.

    Raises:
        InputError: If it is another one.
    """
    if not isinstance(task, DiffusionAttributionTask):
        raise InputError(
            f"task: expected a DiffusionAttributionTask, which knows timesteps, got a "
            f"{type(task).__name__}. Write DiffusionAttributionTask(model, checkpoints) with "
            "model = retrac_plugin.wrap(network, scheduler)"
        )
    if (task.target, task.train_target) != ("loss", "loss"):
        raise InputError(
            f"task: expected the loss as the output function of both sides, got target="
            f"{task.target!r} and train_target={task.train_target!r}: these methods are defined "
            "by the loss"
        )
    return task


def check_normalized(normalized_grad: Any, core: type[DiffusionAttributor]) -> None:
    """Refuse what contradicts the class, or is no truth.

    Raises:
        InputError: If it is so.
    """
    takes_away = takes_norms_away(core)
    if normalized_grad is not None and not isinstance(normalized_grad, bool):
        raise InputError(
            f"normalized_grad: expected a bool or None, got {normalized_grad!r}. The order of "
            "arguments is dattri's: task, weight_list, normalized_grad, projector_kwargs, "
            "layer_name, device"
        )
    if normalized_grad is not None and normalized_grad != takes_away:
        raise InputError(
            f"normalized_grad={normalized_grad}: DiffusionTracInAttributor keeps the norms of "
            "gradients, DiffusionReTracAttributor takes them away; use the other class"
        )


def takes_norms_away(core: type[DiffusionAttributor]) -> bool:
    """Whether a method is of directions alone."""
    return core.method is DiffusionReTrac.method


def attributing(model: DiffusionModel, names: str | Sequence[str] | None) -> DiffusionModel:
    """Return the model with only the named parameters attributed, if any are named.

    Raises:
        InputError: If a name names nothing.
    """
    if names is None:
        return model
    patterns = [names] if isinstance(names, str) else list(names)
    for pattern in patterns:
        model.attributing(pattern).attributed_names()  # raises where it names nothing
    return model.attributing(*patterns)


def weighted(
    checkpoints: Sequence[Checkpoint], weights: Sequence[float] | Tensor | None
) -> list[Checkpoint]:
    """Return the checkpoints with these step sizes, if any are given.

    Raises:
        InputError: If there are more or fewer.
    """
    if weights is None:
        return list(checkpoints)
    if len(weights) != len(checkpoints):
        raise InputError(
            "the length of checkpoints and weights lists don't match. Expected "
            f"{len(checkpoints)} weights, got {len(weights)}"
        )
    return [replace(c, step_size=float(w)) for c, w in zip(checkpoints, weights, strict=True)]


def check_no_draws(**given: Any) -> None:
    """Refuse timesteps and noise for a task that knows neither.

    Args:
        **given: Draws by the name of their argument; None where none were given.

    Raises:
        InputError: If some were given.
    """
    named = [name for name, draws in given.items() if draws is not None]
    if named:
        raise InputError(
            f"{', '.join(named)}: a task of dattri's own knows no timesteps and no noise. Expected "
            "a DiffusionAttributionTask, or no draws"
        )
