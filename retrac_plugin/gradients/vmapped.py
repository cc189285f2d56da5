"""The reference engine: ``torch.func`` per-sample gradients, chunk by chunk.

Right on every layer that ``torch.func`` can differentiate. Memory: one chunk of rows times the
number of parameters, beside the plain pass over the chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from retrac_plugin.gradients.engine import (
    Batch,
    LossFunction,
    Parameters,
    Products,
    RowGradients,
)
from retrac_plugin.gradients.losses import as_losses
from retrac_plugin.gradients.row_norms import row_norms


class VmapEngine:
    """Per-row gradients by ``vmap(grad)``.

    Taken as it is, it is not compared with plain autograd, as ``StreamedEngine`` is: ``torch.func``
    runs every row as if it were alone, refuses what is drawn at random inside, and raises on what
    it cannot batch. What it does not see is a network that remembers earlier runs, that lets the
    draws of one row see each other, or that no gradient reaches.

    Args:
        losses: The per-sample losses as a function of the attributed parameters.
        parameters: The attributed parameters.
        scales: Where given, what every gradient is multiplied with, by parameter.
        chunk_bytes: Roughly how much memory the gradients of one chunk may take.
    """

    def __init__(
        self,
        losses: LossFunction,
        parameters: Parameters,
        scales: Parameters | None = None,
        chunk_bytes: int = 2**28,
    ) -> None:
        self.scales = scales
        taken, self.parameters = as_losses(losses, parameters)
        self.width = sum(value.numel() for value in self.parameters.values())
        item_size = max((value.element_size() for value in self.parameters.values()), default=1)
        self.rows_per_chunk = max(1, chunk_bytes // max(1, self.width * item_size))

        def mean_loss(values: Parameters, row: Batch) -> tuple[Tensor, Tensor]:
            row_losses = taken(values, row)
            return row_losses.mean(), row_losses

        # randomness="error" turns noise drawn inside the model into an error instead of bad scores.
        self._per_row = vmap(
            grad_and_value(mean_loss, has_aux=True), in_dims=(None, 0), randomness="error"
        )

    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """See ``GradientEngine.gradients``."""
        chunks = list(self.chunks(batch, draws))
        flat = [torch.cat([_flat(g) for g in grads.values()], dim=1) for _, grads in chunks]
        return RowGradients(torch.cat([losses for losses, _ in chunks]), torch.cat(flat))

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """See ``GradientEngine.products``."""
        for batch in batches:
            parts = [
                Products(losses, *_contract(grads, vectors))
                for losses, grads in self.chunks(batch, draws)
            ]
            yield Products(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def fallbacks(self) -> dict[str, str]:
        """See ``GradientEngine.fallbacks``; here there are no rules at all."""
        return dict.fromkeys(self.parameters, "this engine has no rules")

    def chunks(self, batch: Batch, draws: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield losses ``[row, draw]`` and gradients by name, ``[row, *shape]``, some rows a time.

        Args:
            batch: See ``GradientEngine.gradients``.
            draws: See ``GradientEngine.gradients``.
        """
        rows = tree_map(lambda leaf: leaf.unflatten(0, (-1, draws)), batch)
        num_rows = tree_leaves(rows)[0].shape[0]
        for start in range(0, num_rows, self.rows_per_chunk):
            stop = min(start + self.rows_per_chunk, num_rows)
            chunk = tree_map(lambda leaf, a=start, b=stop: leaf[a:b], rows)
            # The fused attention kernels have no batching rule.
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                grads, (_, losses) = self._per_row(self.parameters, chunk)
            if self.scales is not None:
                grads = {name: grad * self.scales[name] for name, grad in grads.items()}
            yield losses, grads


def _contract(gradients: dict[str, Tensor], vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return inner products with ``vectors`` and norms, parameter by parameter."""
    first = next(iter(gradients.values()))
    dots = first.new_zeros(first.shape[0], vectors.shape[0])
    norms, offset = [], 0
    for gradient in gradients.values():
        flat = _flat(gradient)
        dots += flat @ vectors[:, offset : offset + flat.shape[1]].T
        norms.append(row_norms(flat))
        offset += flat.shape[1]
    # The norm of norms: squares are never formed on their own, so small gradients do not underflow.
    return dots, row_norms(torch.stack(norms, dim=1))


def _flat(gradient: Tensor) -> Tensor:
    return gradient.reshape(gradient.shape[0], -1)
