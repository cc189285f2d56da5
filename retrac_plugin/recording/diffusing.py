"""Sees what is diffused, and which models are saved, through the classes of diffusers.

diffusers is looked up among the loaded modules, not imported: a script that has not imported it
when it asks for its first batch does not use it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.recording.patching import wrapped

ARGUMENTS = ("original_samples", "noise", "timesteps")


class Diffusion(Protocol):
    """What is told of a training."""

    def diffused(self, samples: Tensor, noise: Tensor, timesteps: Callable[[], Tensor]) -> None:
        """Clean samples were given noise; ``timesteps()`` returns integers, one for each or all."""

    def model_saved(self, directory: str) -> None:
        """A model is about to be saved, with or without the state of its training."""


class DiffusersWatch:
    """Watches the classes of diffusers that are loaded by the time of a call of ``look``."""

    def __init__(self, stack: ExitStack, training: Diffusion) -> None:
        self.stack, self.training = stack, training
        self.watched: set[type] = set()

    def look(self) -> None:
        """Watch the classes that were loaded since the last call."""
        schedulers = sys.modules.get("diffusers.schedulers.scheduling_utils")
        models = sys.modules.get("diffusers.models.modeling_utils")
        for scheduler in _heirs(schedulers.SchedulerMixin) if schedulers else ():
            self._watch(scheduler, "add_noise", self._add_noise)
        if models:
            self._watch(models.ModelMixin, "save_pretrained", self._save)

    def _watch(self, owner: type, name: str, around: Callable[..., Any]) -> None:
        if owner not in self.watched and name in vars(owner):
            self.stack.enter_context(wrapped(owner, name, around))
        self.watched.add(owner)

    def _add_noise(
        self, original: Callable[..., Tensor], scheduler: Any, *args: Any, **named: Any
    ) -> Tensor:
        noisy = original(scheduler, *args, **named)
        given = dict(zip(ARGUMENTS, args, strict=False)) | named
        if torch.is_grad_enabled() and _is_noise(given):  # else it is sampling, or validation
            samples, noise, timesteps = (given[name] for name in ARGUMENTS)
            table = getattr(scheduler, "timesteps", None)
            self.training.diffused(samples, noise, partial(as_positions, timesteps, table))
        return noisy

    def _save(
        self, original: Callable[..., Any], model: Any, save_directory: Any, *args: Any, **kw: Any
    ) -> Any:
        self.training.model_saved(str(save_directory))
        return original(model, save_directory, *args, **kw)


@contextmanager
def watching_diffusers(training: Diffusion) -> Iterator[DiffusersWatch]:
    """Watch diffusers until the end of the ``with`` block."""
    with ExitStack() as stack:
        yield DiffusersWatch(stack, training)


def as_positions(timesteps: Tensor, table: Tensor | None) -> Tensor:
    """Return timesteps as integers: where they are real numbers, positions in the schedule.

    Raises:
        InputError: If they are real numbers, and the schedule has no table of them, or they are
            none of its own.
    """
    if not timesteps.is_floating_point():
        return timesteps
    if table is None or not len(table):
        raise InputError("retrac record: the schedule's table of timesteps is not known")
    distances = (table.to(timesteps.device) - timesteps.reshape(-1, 1)).abs()
    nearest = distances.argmin(1)
    found = distances.gather(1, nearest[:, None])
    others = distances.masked_fill(distances == found, torch.inf).amin(1)
    between = found.squeeze(1) > _BETWEEN * others
    if between.any():
        raise InputError(
            f"retrac record: timestep {float(timesteps.reshape(-1)[between][0]):g} is none of the "
            f"schedule's {len(table)}, and timesteps are recorded by their position among these. "
            "Expected noise levels drawn from scheduler.timesteps, in float32"
        )
    return nearest


_BETWEEN = 0.25
"""Share of the way to the second nearest timestep at which one counts as the nearest, rounded."""


def _is_noise(given: Mapping[str, Any]) -> bool:
    """Return whether noise is added to samples; some schedulers of that method mask tokens."""
    tensors = [value for name in ARGUMENTS if isinstance(value := given.get(name), Tensor)]
    if len(tensors) < len(ARGUMENTS):
        return False
    samples, noise, _ = tensors
    return samples.shape == noise.shape and noise.is_floating_point()


def _heirs(base: type) -> set[type]:
    direct: set[type] = set(base.__subclasses__())
    return direct.union(*(_heirs(heir) for heir in direct))
