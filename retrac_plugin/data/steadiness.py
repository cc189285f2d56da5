"""Whether a dataset answers the same the second time: one that flips at random does not.

A sample's draws follow from its values, and every checkpoint reads it anew: scores of a dataset
that changes between would be sums over different images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from retrac_plugin.errors import InputError
from retrac_plugin.randomness import content_key

LOOKED_AT = 8
"""How many examples are read twice at first; later passes compare the keys of all."""


class Steadiness:
    """Compares what a dataset yields with what it yielded before.

    Args:
        dataset: The dataset.
        ids: Which of its examples are read.
        role: What they are, for messages.
    """

    def __init__(self, dataset: Any, ids: Sequence[int], role: str) -> None:
        self.dataset, self.ids, self.role = dataset, ids, role
        self._looked = False
        # No tensors: in inference mode these could not be written to afterwards.
        self._seen = np.zeros(len(ids), dtype=np.bool_)
        self._keys = np.zeros(len(ids), dtype=np.int64)

    def check_first(self) -> None:
        """Read the first few examples twice, once.

        Raises:
            InputError: If one of them differs.
        """
        looked, self._looked = self._looked, True
        if looked or isinstance(self.dataset, (Tensor, list, tuple)):
            return
        for sample_id in self.ids[:LOOKED_AT]:
            if not _same(self.dataset[sample_id], self.dataset[sample_id]):
                raise self._changes(sample_id)

    def check(self, positions: Sequence[int], keys: Sequence[int]) -> None:
        """Compare the keys of examples at some positions with those of an earlier pass.

        Raises:
            InputError: If one of them differs.
        """
        here, now = np.asarray(positions), np.array(keys, dtype=np.int64)
        changed = self._seen[here] & (self._keys[here] != now)
        if changed.any():
            raise self._changes(self.ids[here[changed.argmax()]])
        self._seen[here], self._keys[here] = True, now

    def _changes(self, sample_id: int) -> InputError:
        return InputError(
            f"{self.role}: example {sample_id} is not what it was when it was read before. "
            "Expected a dataset that answers the same each time: turn random flips, crops and "
            "dropout off. What training saw is replayed from `retrac record --keep samples`"
        )


def _same(one: Any, other: Any) -> bool:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=False)
    return all(_equal(a, b) for a, b in pairs)


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return isinstance(one, Tensor) == isinstance(other, Tensor)
    if one.is_floating_point() and other.is_floating_point():
        return one.shape == other.shape and content_key(one) == content_key(other)
    return torch.equal(one, other)
