"""The norm of each row of a matrix, whose rows may be as long as a network has parameters.

One float32 sum over many numbers loses digits: on a CPU it is off by 0.3% at 34 million numbers and
by 16% at 860 million, and differently for gradients of different timesteps. Sums over short
stretches, then over what these gave, lose none that count, and are faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRETCH = 512
"""Numbers that are summed in one go."""


def row_norms(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, ``[row]``, in float32 or what is wider.

    Args:
        rows: ``[row, number]``, of any floating type.
    """
    while rows.shape[1] > STRETCH:
        even = rows.shape[1] // STRETCH * STRETCH
        stretches = rows[:, :even].view(len(rows), -1, STRETCH)  # also of rows that lie apart
        parts = _norms(stretches)
        if even < rows.shape[1]:
            parts = torch.cat([parts, _norms(rows[:, even:])[:, None]], dim=1)
        rows = parts
    return _norms(rows)


def _norms(values: Tensor) -> Tensor:
    dtype = torch.promote_types(values.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, dtype=dtype)
    return norms
