"""Embedding tables. Only the entries that a batch looks up have a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retrac_plugin.gradients.contributions import Contribution
from retrac_plugin.gradients.rules.call import Kept


@dataclass(frozen=True, eq=False)
class LookedUp:
    """``G[entry] = sum of grad_p over the positions p that looked it up``."""

    indices: Tensor
    """``[row, position]``"""
    grads: Tensor
    """``[row, position, feature]``"""

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """See ``Contribution.blocks``."""
        num_features = self.grads.shape[2]
        for entry in torch.unique(self.indices).tolist():
            here = (self.indices == entry).unsqueeze(1).to(self.grads.dtype)
            yield entry * num_features, torch.bmm(here, self.grads).squeeze(1)


@dataclass(frozen=True, eq=False)
class EmbeddingCall:
    """``weight[inputs]``."""

    weight: Tensor
    padding_idx: int | None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """See ``LayerCall.forward``."""
        return functional.embedding(inputs, self.weight), ()

    def input_gradient(self, inputs: Tensor, kept: Kept, grad: Tensor) -> Tensor:
        """Indices have no gradient, so nobody asks."""
        raise NotImplementedError

    def contributions(
        self, inputs: Tensor, kept: Kept, grad: Tensor, rows: int
    ) -> Iterator[tuple[Tensor, Contribution]]:
        """See ``LayerCall.contributions``."""
        if self.padding_idx is not None:
            grad = grad.masked_fill((inputs == self.padding_idx).unsqueeze(-1), 0)
        grads = grad.reshape(rows, -1, grad.shape[-1])
        yield self.weight, LookedUp(inputs.reshape(rows, -1), grads)


def read_embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> tuple[EmbeddingCall, Tensor] | None:
    """Read a call of ``torch.nn.functional.embedding``."""
    if max_norm is not None or scale_grad_by_freq:  # these depend on more than the sample
        return None
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return EmbeddingCall(weight, padding_idx), input
