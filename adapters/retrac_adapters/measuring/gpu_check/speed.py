"""How fast attributions are beside plain forward and backward passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.facts import Fact
from retrac_adapters.measuring.gpu_check.setting import Scale, Setting, moved
from retrac_adapters.measuring.gpu_check.timing import Run, second, tells_memory
from retrac_plugin.gradients import cutting


def _plain(setting: Setting, device: torch.device, dtype: torch.dtype, batch_size: int) -> Run:
    """Time a training step's forward and backward pass over the training set, without the step."""
    network = moved(setting.network, device, dtype)
    parameters = list(network.parameters())

    def epoch() -> None:
        for batch in torch.split(setting.train.to(dtype), batch_size):
            noisy = batch.to(device)
            timesteps = torch.zeros(len(noisy), dtype=torch.int64, device=device)
            loss = network(noisy, timesteps).sample.square().mean()
            torch.autograd.grad(loss, parameters)
            setting.clock.check()

    return second(epoch, device)


def _attributed(setting: Setting, device: torch.device, dtype: torch.dtype, batch_size: int) -> Run:
    """Time an attribution: the training set, its queries, and what is checked."""
    attributor = setting.attribution(device, dtype, batch_size=batch_size)
    return second(partial(attributor.attribute, setting.train, setting.queries), device)


def measure_speed(scale: Scale, device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Time attributions of networks of several sizes against plain passes."""
    for size in scale.sizes:
        setting = Setting.of(size, scale, clock)
        for dtype in (torch.float32, torch.bfloat16):
            given = (setting, device, dtype, scale.batches[0])
            row = (size.name, str(dtype).removeprefix("torch."))
            plain = _plain(*given)
            yield Fact(row, "plain pass, samples/s", scale.train / plain.seconds)
            ours = _attributed(*given)
            yield Fact(row, "attribution, samples/s", scale.train / ours.seconds)
            yield Fact(row, "times a plain pass", ours.seconds / plain.seconds)
            if tells_memory(device):
                yield Fact(row, "plain pass, MiB", plain.peak)
                yield Fact(row, "attribution, MiB", ours.peak)


def measure_blocks(scale: Scale, device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Time attributions of the largest network at several sizes of batches and blocks."""
    setting = Setting.of(scale.sizes[-1], scale, clock)
    name = "IN_CACHE" if device.type == "cpu" else "LARGE"
    usual = getattr(cutting, name)
    try:
        for batch_size in sorted(scale.batches):
            plain = _plain(setting, device, torch.float32, batch_size)
            row = (str(batch_size),)
            yield Fact(row, "plain pass, samples/s", scale.train / plain.seconds)
            for power in scale.blocks:
                cut = replace(usual, block=2**power, together=2**power)
                setattr(cutting, name, cut)
                ours = _attributed(setting, device, torch.float32, batch_size)
                yield Fact(row, f"blocks of 2^{power}", scale.train / ours.seconds)
    finally:
        setattr(cutting, name, usual)
