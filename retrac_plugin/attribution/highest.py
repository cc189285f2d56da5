"""The highest of scores that pass by: no matrix of them is held."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.attribution.scores import Top

GATHERED = 1024
"""Few enough to be held, and so many that lists are seldom made."""


class Highest:
    """The highest of the scores that pass by, in whatever order they come.

    Equal scores are listed by place, the first one first, so that no order of the pieces, and no
    way of cutting them, changes a list.

    Args:
        k: How many.
        gathered: Samples whose scores are gathered before lists are made of them.
    """

    def __init__(self, k: int, gathered: int = GATHERED) -> None:
        self.k, self.gathered = k, gathered
        self._top: Top | None = None
        self._waiting: list[Top] = []

    def add(self, which: Tensor, scores: Tensor) -> None:
        """Take in some scores.

        Args:
            which: Places in the training set, ``[some]``; or ``[query, some]``, such as the lists
                of another part of it.
            scores: ``[query, some]``.
        """
        self._waiting.append(Top(which.to(scores.device).expand_as(scores), scores))
        if sum(each.values.shape[1] for each in self._waiting) >= self.gathered:
            self._merge()

    def top(self) -> Top:
        """Return the lists, the highest first.

        Raises:
            ValueError: If nothing came.
        """
        self._merge()
        if self._top is None:
            raise ValueError("no block: expected at least one")
        return self._top

    def _merge(self) -> None:
        if not self._waiting:
            return
        pieces = self._waiting if self._top is None else [*self._waiting, self._top]
        self._waiting = []
        indices, values = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
        if self._top is not None and self._top.values.shape[1] == self.k:
            wanted = (values >= self._top.values[:, -1:]).any(0)  # others reach no query's list
            indices, values = indices[:, wanted], values[:, wanted]
        by_place = indices.argsort(dim=1)
        indices, values = indices.gather(1, by_place), values.gather(1, by_place)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self._top = Top(indices.gather(1, order), values.gather(1, order))
