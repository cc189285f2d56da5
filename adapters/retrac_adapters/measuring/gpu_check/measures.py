"""What is checked and measured on a GPU, fact by fact."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from retrac_adapters.measuring.gpu_check.setting import Setting, moved
from retrac_plugin.attribution.budget import Plan
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.gradients import cutting
from retrac_plugin.gradients.full_precision import full_precision
from retrac_plugin.model.devices import peak_bytes, start_over, wait_for


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest score."""
    return float((found - expected).abs().max() / expected.abs().max())


def seconds_of(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the seconds of a second run, and the peak of memory in MiB, 0 where none is told."""
    work()
    wait_for(device)
    start_over(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start, peak_bytes(device) / 2**20


def plain_pass(setting: Setting, device: str, dtype: torch.dtype, batch_size: int) -> None:
    """Do a training step's forward and backward pass over the training set, and no step."""
    network = moved(setting.network, device, dtype)
    for batch in torch.split(setting.train.to(dtype), batch_size):
        noisy = batch.to(device)
        timesteps = torch.zeros(len(noisy), dtype=torch.int64, device=device)
        loss = network(noisy, timesteps).sample.square().mean()
        torch.autograd.grad(loss, list(network.parameters()))


def check(setting: Setting, device: str, report: Callable[..., None]) -> None:
    """Compare scores, type by type."""
    exact = setting.scores("cpu", torch.float64)
    single = setting.scores(device, torch.float32)
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        if device.startswith("mps") and dtype == torch.float64:
            continue
        bound = 1e-9 if dtype == torch.float64 else 1e-2
        report(
            f"{name} against the CPU's float64", error(setting.scores(device, dtype), exact), bound
        )
    other = setting.scores(device, torch.float32, batch_size=3)
    report("float32 at another batch size", error(other, single), 1e-2)
    half = setting.scores(device, torch.bfloat16)
    pair = torch.stack([half.flatten(), single.flatten()])
    report("bfloat16 against float32, 1 - correlation", 1 - float(torch.corrcoef(pair)[0, 1]), 0.05)
    with full_precision():
        report("float32 without TF32", error(setting.scores(device, torch.float32), exact), 1e-3)
    report("float32 from run to run", error(setting.scores(device, torch.float32), single), 1e-3)


def measure(setting: Setting, device: str, report: Callable[..., None]) -> None:
    """Time attributions against plain passes."""
    place, count = torch.device(device), len(setting.train)
    for dtype in (torch.float32, torch.bfloat16):
        for batch_size in setting.batches:
            given = (device, dtype, batch_size)
            plain, memory = seconds_of(partial(plain_pass, setting, *given), place)
            attributor = setting.attribution(device, dtype, batch_size=batch_size)
            work = partial(attributor.attribute, setting.train, setting.queries)
            ours, peak = seconds_of(work, place)
            what = f"{dtype}, batches of {batch_size}".removeprefix("torch.")
            report(f"{what}: plain samples/s", count / plain)
            report(f"{what}: attributed samples/s", count / ours)
            report(f"{what}: seconds over plain", ours / plain)
            report(f"{what}: peak MiB, plain", memory)
            report(f"{what}: peak MiB, attributed", peak)


def measure_memory(setting: Setting, device: str, report: Callable[..., None]) -> None:
    """Compare the peak of memory at one and at three checkpoints with the law."""
    place, batch_size = torch.device(device), setting.batches[0]
    for checkpoints in (1, 3):
        attributor = setting.attribution(
            device, torch.float32, checkpoints=checkpoints, batch_size=batch_size
        )
        source, queries = ExampleSource(setting.train, "train"), len(setting.queries)
        law = attributor.job.needs(source, 1).bytes(Plan(batch_size, queries)) / 2**20
        start_over(place)
        before = peak_bytes(place) / 2**20
        work = partial(attributor.attribute, setting.train, setting.queries)
        _, peak = seconds_of(work, place)
        bound = law if place.type != "cpu" else None  # whose peak is the process's
        report(f"peak MiB at {checkpoints} checkpoints, law {law:.0f}", peak - before, bound)


def measure_blocks(setting: Setting, device: str, report: Callable[..., None]) -> None:
    """Time attributions at several sizes of blocks; those of the CPU where it is the CPU."""
    place, batch_size = torch.device(device), setting.batches[-1]
    name = "IN_CACHE" if place.type == "cpu" else "LARGE"
    usual = getattr(cutting, name)
    for power in setting.blocks:
        setattr(cutting, name, replace(usual, block=2**power, together=2**power))
        attributor = setting.attribution(device, torch.float32, batch_size=batch_size)
        work = partial(attributor.attribute, setting.train, setting.queries)
        report(f"blocks of 2^{power}: seconds", seconds_of(work, place)[0])
    setattr(cutting, name, usual)
