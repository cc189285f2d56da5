"""A model's losses at one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from torch.func import functional_call

from retrac_plugin.gradients.losses import is_narrow, widened
from retrac_plugin.model.diffusion import DiffusionModel, NoisyBatch

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LossesAt:
    """The losses of a model at one checkpoint, see ``retrac_plugin.gradients.losses.Losses``.

    Attributes:
        model: The model.
        fixed: The network's tensors that are not attributed, by name.
    """

    model: DiffusionModel
    fixed: Mapping[str, Tensor]

    @property
    def narrow(self) -> bool:
        """Whether a fixed tensor is in less than float32."""
        return any(map(is_narrow, self.fixed.values()))

    def __call__(self, parameters: Mapping[str, Tensor], batch: NoisyBatch) -> Tensor:
        """Return the loss of each sample, ``[sample]``."""
        return self.model.losses(self.fixed, parameters, batch)

    def widened(self) -> LossesAt:
        """Return the same losses with every fixed tensor in float32, where it is in less."""
        return LossesAt(self.model, widened(dict(self.fixed)))

    def holding(self, parameters: Mapping[str, Tensor], body: Callable[[], T]) -> T:
        """Return ``body()``, called while the network itself holds the given parameters."""
        tensors = {f"network.{name}": v for name, v in {**self.fixed, **parameters}.items()}
        found: T = functional_call(_Holder(self.model.network), tensors, (body,))
        return found


class _Holder(nn.Module):
    """Calls something while its network holds other tensors than its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, body: Callable[[], T]) -> T:
        return body()
