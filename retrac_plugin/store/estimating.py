"""What a store will take, from a few real batches of it: time, memory, disk; and when it pays."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch

from retrac_plugin.attribution.budget import as_bytes
from retrac_plugin.attribution.features import Side
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Feature, side_of
from retrac_plugin.model.devices import peak_bytes, wait_for
from retrac_plugin.store.row_types import RowType

BATCHES = 3
"""Batches of each feature that are timed, after one that is not."""


class StoreEstimate(NamedTuple):
    """What a store takes, and what a question to it does.

    Attributes:
        seconds: To fill it.
        disk: Bytes that it takes.
        memory: Bytes of the process at its peak, while it is filled.
        device_memory: Bytes on another device than the CPU, 0 without one.
        question: Seconds of a question with one picture, after the start.
        without: Seconds of the same without a store.
    """

    seconds: float
    disk: int
    memory: int
    device_memory: int
    question: float
    without: float

    @property
    def pays_after(self) -> float:
        """Questions after which the store has taken less time than going without."""
        saved = self.without - self.question
        return math.ceil(self.seconds / saved) if saved > 0 else math.inf

    def check(self, max_disk: str | None, max_memory: str | None) -> None:
        """Refuse what exceeds a budget.

        Raises:
            InputError: If it does.
        """
        asked = (("disk", max_disk, self.disk), ("memory", max_memory, self.memory))
        for what, most, needed in asked:
            if most is not None and needed > as_bytes(most):
                raise InputError(
                    f"max_{what}: the store takes about {needed:,} bytes of {what}, and {most} are "
                    "allowed. Take fewer methods, rows of float16 or int8, or smaller batches"
                )


def estimate_store(
    setting: Setting,
    features: Iterable[Feature],
    train: ExampleSource,
    row_type: RowType,
    shard_samples: int,
) -> StoreEstimate:
    """Estimate ``featurize`` and a question, by a few batches of every feature.

    Args:
        setting: The model and its checkpoints, and how gradients are taken.
        features: Which features.
        train: The training set; its first samples are timed, also in the place of a query.
        row_type: How rows are kept.
        shard_samples: Samples in a shard.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used.
    """
    seconds, disk, question, held = 0.0, 0, 0.0, 0
    with PeakMemory(setting.device) as peak:
        for feature in dict.fromkeys(each.of_train for each in features):
            start = time.perf_counter()
            at = feature.at(setting)
            count = min(len(train), BATCHES * at.block_size(feature.draws))
            side_of(at, feature, train.part([0]), feature.draws, "query")  # the first is checked
            wait_for(setting.device)
            loaded = time.perf_counter()
            side = side_of(at, feature, train.part(range(count)), feature.draws, "train")
            wait_for(setting.device)
            each = (time.perf_counter() - loaded) / count
            size, reading = _kept(side, row_type)
            seconds += loaded - start + each * len(train)
            question += loaded - start + each + reading * len(train)
            disk += int(size * len(train))
            held = max(held, side.features[0].numel() * 4 * min(shard_samples, len(train)))
            del at  # or this checkpoint's weights stay while the next one loads
    on_cpu = setting.device.type == "cpu"
    return StoreEstimate(
        seconds=seconds,
        disk=disk,
        memory=(peak.bytes or 0) + (2 * held if on_cpu else held),
        device_memory=0 if on_cpu else peak_bytes(setting.device) + held,
        question=question,
        without=seconds,
    )


def _kept(side: Side, row_type: RowType) -> tuple[float, float]:
    """Return the bytes that a sample's rows take, and the seconds that it takes to score them."""
    packed = row_type.pack(side.features.cpu())
    parts = [packed.values, side.norms, side.outputs]
    if packed.scales is not None:
        parts.append(packed.scales)
    count = len(side.norms)
    start = time.perf_counter()
    rows = packed.rows().flatten(1)
    torch.mv(rows, rows[0])
    taken = time.perf_counter() - start
    return sum(part.numel() * part.itemsize for part in parts) / count + 16, taken / count
