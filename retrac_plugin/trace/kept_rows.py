"""Tensors of visits that were kept in files, since no seed gives them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError


@dataclass(frozen=True, eq=False)
class KeptRows:
    """One tensor for each of some visits, left in the files it was written to until it is read.

    Attributes:
        what: What it is, for messages: ``"noise"`` or ``"samples"``.
        files: The files, mapped into memory, each ``[row, *shape]``.
        file: Position in ``files`` of each visit, ``[visit]``; -1 where nothing was kept.
        row: Its row in that file, ``[visit]``.
    """

    what: str
    files: Sequence[Tensor]
    file: Tensor
    row: Tensor

    def read(self, visits: Tensor, shape: Sequence[int]) -> Tensor:
        """Return ``[visit, *shape]`` in float32, or in float64 where training was.

        Raises:
            TraceError: If it was not kept for one of the visits, or is shaped otherwise.
        """
        files, rows = self.file[visits], self.row[visits]
        self._check(files, shape)
        used = sorted(set(files.tolist()))
        out = torch.empty(len(files), *shape, dtype=_widest([self.files[i].dtype for i in used]))
        for position in used:
            here = files == position
            out[here] = self.files[position][rows[here]].to(out.dtype)
        return out

    def _check(self, files: Tensor, shape: Sequence[int]) -> None:
        if (files < 0).any():
            raise TraceError(
                f"the {self.what} of {int((files < 0).sum())} of {len(files)} visits was not kept: "
                "a sample's last visit before each checkpoint is kept, no other. Was this "
                "checkpoint saved by the recorded training?"
            )
        for position in sorted(set(files.tolist())):
            found = tuple(self.files[position].shape[1:])
            if found != tuple(shape):
                raise TraceError(
                    f"training saw samples shaped {found}, got samples shaped {tuple(shape)}: "
                    "pass what the denoiser was trained on, such as latents"
                )


def _widest(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    return torch.float64 if torch.float64 in dtypes else torch.float32
