"""Whether scores are right: type by type, batch by batch, from run to run."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.facts import Fact
from retrac_adapters.measuring.gpu_check.golden import check_golden, error
from retrac_adapters.measuring.gpu_check.setting import Scale, Setting
from retrac_plugin.gradients.full_precision import full_precision


def check(scale: Scale, device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Compare scores with those of plain loops, of the CPU, and of other batches and runs."""
    has_double = device.type != "mps"
    if has_double:
        yield from check_golden(device, clock)
    setting = Setting.of(scale.sizes[0], scale, clock)
    expected = setting.scores("cpu", torch.float64)

    def fact(what: str, value: float, at_most: float) -> Fact:
        return Fact((what,), "found", value, at_most)

    if has_double:
        found = error(setting.scores(device, torch.float64), expected)
        yield fact("float64 against the CPU's", found, 1e-9)
    single = setting.scores(device, torch.float32)
    yield fact("float32 against the CPU's float64", error(single, expected), 1e-2)
    again = setting.scores(device, torch.float32)
    yield fact("float32, the same call again", error(again, single), 1e-4)
    batches = setting.scores(device, torch.float32, batch_size=3)
    yield fact("float32, batches of 3", error(batches, single), 1e-2)
    with full_precision():
        exact = setting.scores(device, torch.float32)
    yield fact("float32 without TF32, against the CPU's float64", error(exact, expected), 1e-3)
    half = setting.scores(device, torch.bfloat16)
    if half.numel() > 2:
        pair = torch.stack([half.flatten(), single.flatten()])
        apart = 1 - float(torch.corrcoef(pair)[0, 1])
        yield fact("bfloat16 against float32, 1 - correlation", apart, 0.05)
