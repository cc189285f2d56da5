"""The losses whose gradients are taken, and what an engine may ask of them beside their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from retrac_plugin.gradients.engine import Batch, LossFunction, Parameters
from retrac_plugin.gradients.surroundings import Autocast

T = TypeVar("T")


@runtime_checkable
class Losses(Protocol):
    """Per-sample losses of a network.

    A plain function will do in their place, see ``as_losses``.
    """

    @property
    def narrow(self) -> bool:
        """Whether something is computed in less than float32, whatever the parameters' type."""

    def __call__(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the losses, ``[sample]``, each depending on its own sample alone."""

    def widened(self) -> Losses:
        """Return the same losses with every fixed tensor in float32, where it is in less."""

    def holding(self, parameters: Parameters, body: Callable[[], T]) -> T:
        """Return ``body()``, called while the network itself holds the given parameters.

        What a backward pass computes a second time (gradient checkpointing) then sees them too.
        """


@dataclass(frozen=True, eq=False)
class FunctionLosses:
    """A plain function: whatever it holds fixed stays as it is."""

    function: LossFunction
    narrow = False

    def __call__(self, parameters: Parameters, batch: Batch) -> Tensor:
        """See ``Losses.__call__``."""
        return self.function(parameters, batch)

    def widened(self) -> Losses:
        """See ``Losses.widened``."""
        return self

    def holding(self, parameters: Parameters, body: Callable[[], T]) -> T:
        """See ``Losses.holding``."""
        return body()


@dataclass(frozen=True, eq=False)
class AutocastLosses:
    """Losses under the autocast that was on where the engine was made."""

    losses: Losses
    autocast: Autocast
    narrow = True

    def __call__(self, parameters: Parameters, batch: Batch) -> Tensor:
        """See ``Losses.__call__``."""
        with self.autocast.restored():
            return self.losses(parameters, batch)

    def widened(self) -> Losses:
        """See ``Losses.widened``; without autocast, which would narrow them."""
        return self.losses.widened()

    def holding(self, parameters: Parameters, body: Callable[[], T]) -> T:
        """See ``Losses.holding``."""
        return self.losses.holding(parameters, body)


@dataclass(frozen=True, eq=False)
class RealLosses:
    """Losses as a function of real parameters, some of which stand for complex ones.

    Attributes:
        losses: The losses.
        names: The complex parameters; given as ``[*shape, 2]``, real and imaginary part.
    """

    losses: Losses
    names: frozenset[str]

    @property
    def narrow(self) -> bool:
        """See ``Losses.narrow``."""
        return self.losses.narrow

    def __call__(self, parameters: Parameters, batch: Batch) -> Tensor:
        """See ``Losses.__call__``."""
        return self.losses(self._complex(parameters), batch)

    def widened(self) -> Losses:
        """See ``Losses.widened``."""
        return RealLosses(self.losses.widened(), self.names)

    def holding(self, parameters: Parameters, body: Callable[[], T]) -> T:
        """See ``Losses.holding``."""
        return self.losses.holding(self._complex(parameters), body)

    def _complex(self, parameters: Parameters) -> Parameters:
        return {
            name: torch.view_as_complex(value) if name in self.names else value
            for name, value in parameters.items()
        }


def as_losses(function: LossFunction, parameters: Parameters) -> tuple[Losses, Parameters]:
    """Return losses of real parameters, and these parameters, without history.

    Args:
        function: ``Losses`` or a plain function.
        parameters: The attributed parameters; a complex one is seen as ``[*shape, 2]``, so that a
            row's inner products and norms are those of its real and imaginary parts.
    """
    losses: Losses = function if isinstance(function, Losses) else FunctionLosses(function)
    autocast = Autocast.of(next((value.device for value in parameters.values()), None))
    if autocast is not None:
        losses = AutocastLosses(losses, autocast)
    plain = {name: ordinary(value.detach()) for name, value in parameters.items()}
    names = frozenset(name for name, value in plain.items() if value.is_complex())
    if not names:
        return losses, plain
    real = {n: torch.view_as_real(v.resolve_conj()) if n in names else v for n, v in plain.items()}
    return RealLosses(losses, names), real


def ordinary(tensor: Tensor) -> Tensor:
    """Return a tensor that autograd takes: a copy of one made in inference mode."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


def widened(tree: Any) -> Any:
    """Return a pytree of tensors with the floating-point ones in float32, where in less."""

    def widen(leaf: Tensor) -> Tensor:
        return leaf.float() if is_narrow(leaf) else leaf

    return tree_map(widen, tree)


def is_narrow(tensor: Tensor) -> bool:
    """Whether a tensor's type keeps fewer digits than float32."""
    return tensor.is_floating_point() and tensor.dtype.itemsize < torch.float32.itemsize
