"""Sums over all of a training set's rows in a store, taken once and kept beside the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from retrac_plugin.attribution.tensor_files import write
from retrac_plugin.data.encoded import digest
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.methods.curvature import Curvature
from retrac_plugin.methods.kernel_ridge import wide
from retrac_plugin.methods.whole import InMemory, Make, Whole
from retrac_plugin.store.rows import Rows

FORMAT = 1


class OnDisk(Whole):
    """The rows of a training set in a store.

    Args:
        rows: The rows.
        places: Where those of the training set lie, ``[sample]``.
        like: What sums are moved to: the queries' rows.
    """

    def __init__(self, rows: Rows, places: Tensor, like: Tensor) -> None:
        super().__init__(len(places), self._kept)
        self.rows, self.places, self.like = rows, places, like
        ordered = places.sort().values  # whose sums they are, whatever their order
        self._name = digest(ordered.numpy().tobytes())[:16]

    def lies_as(self, other: OnDisk) -> bool:
        """Return whether another's rows of the same samples lie side by side with these."""
        return self.rows.lie_as(other.rows) and torch.equal(self.places, other.places)

    def parts(self) -> Iterator[Tensor]:
        """See ``Whole.parts``."""
        for _, side in self.rows.parts(self.places):
            yield side.features.to(self.like)

    @cached_property
    def curvature(self) -> Curvature:
        """See ``Whole.curvature``."""
        decomposed = self.keep("curvature", self._decomposed).to(self.like)
        return Curvature(decomposed[:, 0], decomposed[:, 1:], self.count)

    def coordinates(self, rows: Tensor) -> Tensor:
        """See ``Whole.coordinates``."""
        return rows @ self.curvature.basis.T

    def _decomposed(self) -> Tensor:
        """Return ``s^2`` beside ``V^T``, ``[rank, 1 + d]``."""
        width = self.like.shape[-1]
        if self.count <= width:  # no larger in memory than the matrix [d, d]
            rows = InMemory(torch.cat(list(self.parts())))
            return _beside(rows.curvature)
        total = wide(self.like).new_zeros(width, width)
        for part in self.parts():
            total.addmm_(wide(part).T, wide(part))
        return _beside(Curvature.of_gram(total, self.count))

    def _kept(self, name: str, make: Make) -> Tensor:
        path = self.rows.folder / f"{name}-{self._name}.safetensors"
        about = {"format": str(FORMAT), "kind": self.rows.kind.digest}
        if not path.exists():
            write(path, {name: make().cpu()}, about)
        return _read(path, name, about).to(self.like.device)


def _beside(curvature: Curvature) -> Tensor:
    return torch.cat([curvature.squared[:, None], curvature.basis], dim=1)


def _read(path: Path, name: str, about: Mapping[str, str]) -> Tensor:
    with reading(path, InputError, "the sums in"), safe_open(path, "pt") as file:
        if dict(file.metadata() or {}) != dict(about):
            raise InputError(f"{str(path)!r} is of other rows: delete it, and it is made anew")
        tensor: Tensor = file.get_tensor(name)
        return tensor
