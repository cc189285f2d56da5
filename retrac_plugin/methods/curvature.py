"""The curvature that TRAK and its kin divide by.

``Phi [train, d]`` are the training rows and ``Phi^T Phi = V diag(s^2) V^T``. A row ``phi_i`` lies
in the span of ``V``, so ``(Phi^T Phi + lambda I)^-1 phi_i = V diag(1 / (s^2 + lambda)) V^T phi_i``.
One decomposition serves every damping, and every row that is part of ``Phi``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.row_norms import row_norms


class Curvature:
    """``Phi^T Phi``, decomposed.

    Args:
        squared: ``s^2``, ``[rank]``.
        basis: ``V^T``, ``[rank, d]``.
        count: Number of training rows.

    In what follows ``damping`` is ``lambda`` as a multiple of the training rows' mean squared
    norm, so that their scale does not matter, and ``coordinates`` are ``V^T phi_i`` of some
    training rows, ``[row, rank]``.
    """

    def __init__(self, squared: Tensor, basis: Tensor, count: int) -> None:
        self.squared, self.basis = squared, basis
        self.mean_squared_norm = squared.sum() / count

    @classmethod
    def of_gram(cls, gram: Tensor, count: int) -> Curvature:
        """Decompose ``Phi^T Phi``, ``[d, d]``; what rounding left of an eigenvalue of 0 is 0."""
        values, vectors = torch.linalg.eigh(gram)
        least = values[-1] * len(values) * torch.finfo(values.dtype).eps
        return cls(torch.where(values > least, values, 0), vectors.T, count)

    def inverse(self, damping: float) -> Tensor:
        """Return ``1 / (s^2 + lambda)``, ``[rank]``, 0 where there is nothing to invert."""
        damped = self.squared + damping * self.mean_squared_norm
        return torch.where(damped > 0, damped.reciprocal(), 0)

    def inverse_of(self, queries: Tensor, damping: float) -> Tensor:
        """Return ``(Phi^T Phi + lambda I)^-1 phi_q`` of queries in the span, ``[query, d]``.

        Args:
            queries: ``[query, d]``; what is orthogonal to all training rows meets none of them.
            damping: See above.
        """
        found: Tensor = queries @ self.basis.T * self.inverse(damping) @ self.basis
        return found

    def inverse_norms(self, coordinates: Tensor, damping: float) -> Tensor:
        """Return ``|(Phi^T Phi + lambda I)^-1 phi_i|``, ``[row]``."""
        return row_norms(coordinates * self.inverse(damping))

    def leverages(self, coordinates: Tensor, damping: float) -> Tensor:
        """Return ``phi_i^T (Phi^T Phi + lambda I)^-1 phi_i``, ``[row]``, each below 1."""
        return (coordinates.square() * self.inverse(damping)).sum(1)
