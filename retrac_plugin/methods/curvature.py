"""The curvature that TRAK and its kin divide by, from a singular value decomposition.

``Phi [train, d]`` are the training features, ``Phi = U diag(s) V^T``. The rows of ``Phi`` lie in
the span of ``V``, so ``(Phi^T Phi + lambda I)^-1 phi_i = V diag(s / (s^2 + lambda)) u_i``, exactly.
One decomposition serves every damping.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.gradients.row_norms import row_norms


class Curvature:
    """The decomposed training features.

    Args:
        features: ``[train, d]``.
    """

    def __init__(self, features: Tensor) -> None:
        self.left, self.singular, self.right = torch.linalg.svd(features, full_matrices=False)
        self.mean_squared_norm = self.singular.square().sum() / len(features)

    def inverse_train(self, damping: float) -> Tensor:
        """Return ``(Phi^T Phi + lambda I)^-1 phi_i`` in the basis ``V``, ``[train, rank]``.

        Args:
            damping: ``lambda`` as a multiple of the training features' mean squared norm, the mean
                of ``Phi Phi^T``'s eigenvalues; so the scale of the features does not matter.
        """
        squared = self.singular.square() + damping * self.mean_squared_norm
        inverse: Tensor = self.left * torch.where(squared > 0, self.singular / squared, 0)
        return inverse

    def scores(self, queries: Tensor, damping: float) -> Tensor:
        """Return ``phi_q^T (Phi^T Phi + lambda I)^-1 phi_i``, ``[query, train]``.

        Args:
            queries: ``[query, d]``.
            damping: See ``inverse_train``.
        """
        found: Tensor = queries @ self.right.T @ self.inverse_train(damping).T
        return found

    def inverse_norms(self, damping: float) -> Tensor:
        """Return ``|(Phi^T Phi + lambda I)^-1 phi_i|``, ``[train]``."""
        return row_norms(self.inverse_train(damping))

    def leverages(self, damping: float) -> Tensor:
        """Return ``phi_i^T (Phi^T Phi + lambda I)^-1 phi_i``, ``[train]``, each below 1."""
        found: Tensor = (self.left * self.singular * self.inverse_train(damping)).sum(1)
        return found
