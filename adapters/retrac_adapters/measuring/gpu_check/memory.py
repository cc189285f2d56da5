"""Whether memory is what the law of ``attribution.budget`` says, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.facts import Fact
from retrac_adapters.measuring.gpu_check.setting import Scale, Setting
from retrac_adapters.measuring.gpu_check.timing import MIB, second, tells_memory, timed
from retrac_plugin.attribution.budget import Plan
from retrac_plugin.data.examples import ExampleSource

LEFT = 1.0
"""MiB that calls may leave behind beside their scores, which are small."""


def measure_memory(scale: Scale, device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Compare the peak at one and at three checkpoints with the law, and call many times."""
    setting, batch_size = Setting.of(scale.sizes[-1], scale, clock), scale.batches[0]
    source = ExampleSource(setting.train, "train")
    plan, tells = Plan(batch_size, scale.queries), tells_memory(device)
    for checkpoints in (1, 3):
        made = setting.attribution(device, torch.float32, checkpoints, batch_size=batch_size)
        law = made.job.needs(source, 1).bytes(plan) / MIB
        run = second(partial(made.attribute, setting.train, setting.queries), device)
        row = (f"peak at {checkpoints} checkpoint{'s' * (checkpoints > 1)}",)
        yield Fact(row, "by the law, MiB", law)
        if tells:
            yield Fact(row, "measured, MiB", run.peak, law)
    if tells:
        few = setting.train[: 2 * batch_size]
        work = partial(made.attribute, few, setting.queries)
        work()

        def again() -> None:
            for _ in range(scale.calls):
                work()

        left = timed(again, device).left
        yield Fact((f"left by {scale.calls} calls",), "measured, MiB", left, LEFT)
