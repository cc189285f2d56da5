"""Which batch a script diffuses: the last one that it received, if that can be told."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrac_plugin.errors import InputError

Batch = tuple[Tensor | None, Any, Any]
"""The positions of a batch in a dataset, where they are known, the dataset, and the loader."""


class Batches:
    """What the script received since it last diffused something.

    Batches that are received without gradients are for validation, and stand in nobody's way; only
    where there are no others, one of them is what is trained on. Nor do those of other loaders
    that come before one of the loader that was trained on so far.
    """

    def __init__(self) -> None:
        self._loader: Any = None
        self._taken: list[Batch] = []
        self._waiting: list[Batch] = []
        self._aside: list[Batch] = []

    def received(self, ids: Tensor | None, dataset: Any, loader: Any) -> None:
        """The script received a batch of these positions of ``dataset``, if they are known."""
        (self._waiting if torch.is_grad_enabled() else self._aside).append((ids, dataset, loader))

    @property
    def any(self) -> bool:
        """Whether the script received any batch."""
        return bool(self._taken or self._waiting or self._aside)

    def take(self) -> tuple[Tensor, Any]:
        """Return the positions and the dataset of the batch that is diffused.

        Raises:
            InputError: If the positions are not known, or it may be another batch.
        """
        found = self._waiting or [*self._taken, *self._aside]
        self._waiting, self._aside, self._taken = [], [], found[-1:]
        ids, dataset, loader = found[-1] if found else (None, None, None)
        if ids is None:
            raise InputError(
                "retrac record: noise was added to samples of unknown positions. Expected batches "
                "of a torch DataLoader over a map-style dataset; a stream has no positions"
            )
        if loader is not self._loader and any(other is not loader for *_, other in found):
            datasets = {id(other) for _, other, _ in found}
            raise InputError(
                "retrac record: the script received batches of two "
                f"{'datasets' if len(datasets) > 1 else 'loaders of one dataset'} before it "
                "diffused one of them, and which one cannot be told. Expected one loader of what "
                "is trained on; read others under torch.no_grad(), or, in a loop of your own, use "
                "retrac.Recorder"
            )
        self._loader = loader
        return ids.cpu(), dataset


def check_same(before: tuple[Tensor, ...], now: tuple[Tensor, ...]) -> None:
    """Refuse that a batch is diffused a second time, unless it is the same call seen twice.

    Args:
        before: Samples, noise and timesteps of the first time.
        now: Those of this time.

    Raises:
        InputError: If they differ.
    """
    if not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(before, now, strict=True)):
        raise InputError(
            "retrac record: noise was added twice to one batch, and which of them the denoiser "
            "is trained on cannot be told: one may be a condition, as in upscalers, or a second "
            "visit. Expected one add_noise for each batch; in a loop of your own, use "
            "retrac.Recorder"
        )
