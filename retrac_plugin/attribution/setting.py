"""With what, and where, gradients are computed: what every method is given, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retrac_plugin import progress as showing
from retrac_plugin.attribution.keeping import NOTHING, Keeping
from retrac_plugin.attribution.passes import CheckpointPass, Tick
from retrac_plugin.checkpoints.checking import check_checkpoints
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.devices import check_default_device, check_type, usable_device
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.outputs import LOSS, Output

Progress = bool | Callable[[int], Any] | None
"""Show a progress bar; None: on a terminal. Or what makes one for so many samples: a context
manager with ``update(samples)``."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A model with its checkpoints, and how gradients are taken at them.

    Attributes:
        model: The diffusion model, from ``retrac_plugin.wrap``.
        checkpoints: At least one; each is loaded when it is needed, and not kept.
        batch_size: Samples per network pass; changes cost, never a score.
        device: Where to compute. The network is not moved.
        engine: What computes gradients.
        progress: See ``Progress``.
        keep: Keeps what is finished of the training set's side.
    """

    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    batch_size: int
    device: torch.device
    engine: EngineFactory
    progress: Progress
    keep: Keeping = NOTHING

    @classmethod
    def build(
        cls,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        batch_size: int,
        device: str | torch.device | None,
        engine: EngineFactory,
        progress: Progress,
    ) -> Setting:
        """Check what a method was given; the device defaults to where the network is.

        Raises:
            InputError: If an argument is not what it should be.
        """
        if not isinstance(model, DiffusionModel):
            raise InputError(
                f"model: expected what retrac_plugin.wrap(network, scheduler) returns, got a "
                f"{type(model).__name__}"
            )
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        series = check_checkpoints(checkpoints)
        return cls(model, series, batch_size, device_for(model, device), engine, progress)

    def at(
        self,
        position: int,
        tick: Tick,
        batch_size: int | None = None,
        output: Output = LOSS,
        engine: EngineFactory | None = None,
    ) -> CheckpointPass:
        """Load one checkpoint, to take gradients there.

        Args:
            position: Of the checkpoint in the series.
            tick: Called with the number of samples done.
            batch_size: Samples per network pass, where they are not the setting's.
            output: Of what the gradients are taken.
            engine: What computes them, where it is not the setting's.
        """
        return CheckpointPass(
            output.of(self.model),
            self.checkpoints[position],
            position,
            engine or self.engine,
            self.device,
            batch_size or self.batch_size,
            tick,
            self.keep,
        )

    def identity(self, position: int, batch_size: int | None = None) -> tuple[Any, ...]:
        """Return all that decides gradients at a checkpoint, to their last bits."""
        size, device = batch_size or self.batch_size, str(self.device)
        return self.model, self.checkpoints[position], position, self.engine, device, size

    def passes(self, tick: Tick, batch_size: int | None = None) -> Iterator[CheckpointPass]:
        """Yield every checkpoint, loaded in its turn and not kept."""
        check_deterministic(self.model.network)
        for position in range(len(self.checkpoints)):
            yield self.at(position, tick, batch_size)

    def bar(self, samples: int, what: str) -> Any:
        """Return a progress bar over samples, a context manager."""
        if callable(self.progress):
            return self.progress(samples)
        return showing.bar(samples, what, shown=self.progress)

    def zeros(self, *shape: int) -> Tensor:
        """Return scores of 0, in the model's floating type but never in less than float32."""
        own = next(self.model.network.parameters()).dtype.to_real()
        dtype = torch.float64 if own == torch.float64 else torch.float32
        return torch.zeros(*shape, dtype=dtype, device=self.device)

    def differences(self, other: Setting) -> list[str]:
        """Return in what, of all that decides gradients, another setting differs."""
        decisive = ("model", "device", "engine")
        found = [name for name in decisive if getattr(self, name) != getattr(other, name)]
        same = list(self.checkpoints) == list(other.checkpoints)
        return found if same else [*found, "checkpoints"]


def device_for(model: DiffusionModel, device: str | torch.device | None) -> torch.device:
    """Return where to compute: on a device that was asked for, else where the network is.

    Raises:
        InputError: If it cannot be used here, or has not the network's floating type.
    """
    check_default_device()
    own = next(model.network.parameters())
    found = own.device if device is None else usable_device(device)
    check_type(found, own.dtype)
    return found
