"""Sees what is diffused by scripts for flow matching, which mix sample and noise themselves.

They draw noise by ``torch.randn_like(sample)`` and give the denoiser ``(1 - sigma) x + sigma eps``,
packed or not, and a timestep that tells sigma. The tensors of the last draw are taken for the
sample and its noise only if mixing them gives what the denoiser then receives.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from retrac_plugin.errors import InputError
from retrac_plugin.recording.diffusing import as_positions
from retrac_plugin.recording.patching import wrapped

THOUSAND = 1000.0
"""Timesteps are sigmas times this number; some denoisers are given them divided by it."""

TOLERANCE = 0.1

ROUNDING = 0.01
"""How far a timestep may lie from that of the table, for having been divided by a thousand."""


class Mixing(Protocol):
    """What is told of a training."""

    def waiting(self) -> bool:
        """Whether nothing was seen yet to be diffused of the batch at hand."""

    def diffused(self, samples: Tensor, noise: Tensor, timesteps: Callable[[], Tensor]) -> None:
        """See ``diffusing.Diffusion``."""


class MixingWatch:
    """Watches draws of noise, and the denoisers that it is told of."""

    def __init__(self, stack: ExitStack, training: Mixing) -> None:
        self.stack, self.training = stack, training
        self._drawn: tuple[Tensor, Tensor] | None = None
        self._tables: list[Tensor] = []
        stack.enter_context(wrapped(torch, "randn_like", self._randn_like))

    def watch(self, model: nn.Module) -> None:
        """Watch a model that the script trains."""
        handle = model.register_forward_pre_hook(self._before_forward, with_kwargs=True)
        self.stack.callback(handle.remove)

    def _randn_like(
        self, original: Callable[..., Tensor], like: Tensor, *a: Any, **k: Any
    ) -> Tensor:
        noise = original(like, *a, **k)
        if torch.is_grad_enabled():
            self._drawn = like, noise
        return noise

    def _before_forward(self, model: nn.Module, args: Any, named: dict[str, Any]) -> None:
        mixed, timesteps = named.get("hidden_states"), named.get("timestep")
        if not isinstance(mixed, Tensor) or not isinstance(timesteps, Tensor):
            return
        if self._drawn is None or not torch.is_grad_enabled() or not self.training.waiting():
            return
        (samples, noise), self._drawn = self._drawn, None
        for sigmas in (timesteps / THOUSAND, timesteps):
            if _is_mixed(mixed, samples, noise, sigmas):
                self.training.diffused(samples, noise, partial(self._positions, sigmas))
                return

    def _positions(self, sigmas: Tensor) -> Tensor:
        """Return the positions of timesteps in the schedule that holds all seen so far."""
        timesteps = sigmas.float().reshape(-1) * THOUSAND
        known = self._tables or _find_tables()
        self._tables = [table for table in known if _holds(table, timesteps)]
        found = {tuple(as_positions(timesteps, table).tolist()) for table in self._tables}
        if len(found) != 1:
            raise InputError(
                "retrac record: expected timesteps of one of the script's flow-matching schedules, "
                f"got {timesteps.tolist()[:3]}, ..., which {len(found)} of them hold, at positions "
                "of their own. Keep one schedule, in float32, and draw timesteps from its table"
            )
        return torch.tensor(found.pop())


@contextmanager
def watching_mixing(training: Mixing) -> Iterator[MixingWatch]:
    """Watch scripts for flow matching until the end of the ``with`` block."""
    with ExitStack() as stack:
        yield MixingWatch(stack, training)


def _is_mixed(mixed: Tensor, samples: Tensor, noise: Tensor, sigmas: Tensor) -> bool:
    """Return whether ``mixed`` holds the numbers ``(1 - sigma) x + sigma eps``, in any order."""
    shape = (-1,) + (1,) * (samples.dim() - 1)
    alike = len(mixed) == len(samples) and mixed.numel() == samples.numel() == noise.numel()
    if not alike or sigmas.numel() not in (1, len(samples)):
        return False
    sigma = sigmas.float().reshape(shape)
    expected = (1 - sigma) * samples.float() + sigma * noise.float()
    return bool((_signature(mixed) - _signature(expected)).abs().max() < TOLERANCE)


def _signature(values: Tensor) -> Tensor:
    """Return a few numbers a row that its order does not change, and rounding only a little.

    Those of two independent draws differ by about 1, however many numbers a row holds.
    """
    rows = values.detach().float().flatten(1)
    waves = [f(k * rows).sum(1) for k in (1.0, 2.0) for f in (torch.sin, torch.cos)]
    return torch.stack(waves).div(math.sqrt(rows.shape[1]))


def _holds(table: Tensor, timesteps: Tensor) -> bool:
    distances = (table.to(timesteps.device) - timesteps.reshape(-1, 1)).abs()
    return bool((distances.amin(1) < ROUNDING).all())


def _find_tables() -> list[Tensor]:
    """Return the timesteps of the schedules that are alive, which scripts hold in variables.

    Others may be alive besides the script's own, such as a pipeline's: whose timesteps the script
    draws is told by them, not by the order in which they are found. Tables that were cut down for
    sampling are left out.
    """
    return [
        found.timesteps.float()
        for found in gc.get_objects()
        if type(found).__name__.startswith("FlowMatch")
        and isinstance(getattr(found, "timesteps", None), Tensor)
        and len(found.timesteps) == found.config.num_train_timesteps
    ]
