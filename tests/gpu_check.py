"""Checks and measures attribution on a real GPU: ``python -m tests.gpu_check --device cuda``.

Checks: the scores of float64 and float32 against the CPU's, those of bfloat16 against float32's,
with TF32 as torch has it and without, and the scores at two batch sizes. Measures: samples a second
of an attribution against a plain forward and backward pass over as many samples, and the peak of
memory. Prints one line a fact, writes them as JSON on request, and exits with 1 if a check fails.

``--device pretend --size tiny`` tries the script itself on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

import retrac_plugin as retrac

SIZES = {
    "tiny": {
        "channels": (8, 8),
        "pixels": 8,
        "layers": 1,
        "train": 4,
        "queries": 2,
        "groups": 4,
        "batches": (4,),
    },
    "cifar": {
        "channels": (128, 256, 256, 256),
        "pixels": 32,
        "layers": 2,
        "train": 512,
        "queries": 4,
        "groups": 32,
        "batches": (32, 128),
    },
}
"""``cifar``: the U-Net of the CIFAR-10 DDPM, 35.7 million parameters."""

CHECKED = 8
"""Training samples that are also scored on the CPU, which is slow."""


def moved(network: nn.Module, device: str, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network elsewhere; by torch's own way, which diffusers has words about."""
    return nn.Module.to(copy.deepcopy(network), device, dtype)


@dataclass(frozen=True)
class Setting:
    """What is attributed."""

    network: UNet2DModel
    train: Tensor
    queries: Tensor
    batches: tuple[int, ...]

    def attribution(self, device: str, dtype: torch.dtype, **options: Any) -> Any:
        """Return an attributor in a type; the data stay as they are, since draws hang on them."""
        network = moved(self.network, device, dtype)
        state = {name: value.to(dtype) for name, value in self.network.state_dict().items()}
        return retrac.DiffusionReTrac(
            retrac.wrap(network, DDPMScheduler()),
            [retrac.Checkpoint(state, 1.0, 10)],
            train_draws=retrac.Uniform(1, seed=1),
            query_draws=retrac.Strided(2, noise_draws=2, seed=2),
            device=device,
            progress=False,
            **options,
        )

    def scores(self, device: str, dtype: torch.dtype, batch_size: int = 32) -> Tensor:
        """Return the scores ``[query, train]`` of the samples that are checked, in float64."""
        attributor = self.attribution(device, dtype, batch_size=batch_size)
        return attributor.attribute(self.train[:CHECKED], self.queries).values.double().cpu()


def setting_of(size: str) -> Setting:
    """Return a network with seeded weights, and seeded images."""
    chosen = SIZES[size]
    channels = chosen["channels"]
    attention = len(channels) > 2  # at half the size, as in the CIFAR-10 model
    kinds = ["Attn" * (attention and i == 1) for i in range(len(channels))]
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=chosen["pixels"],
        in_channels=3,
        out_channels=3,
        layers_per_block=chosen["layers"],
        block_out_channels=channels,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        norm_num_groups=chosen["groups"],
        attention_head_dim=None if attention else 8,
    ).eval()
    count = chosen["train"] + chosen["queries"]
    images = torch.rand(count, 3, chosen["pixels"], chosen["pixels"]) * 2 - 1
    return Setting(network, images[: chosen["train"]], images[chosen["train"] :], chosen["batches"])


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest score."""
    return float((found - expected).abs().max() / expected.abs().max())


def seconds_of(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the seconds of a second run, and the peak of memory in MiB, 0 where none is told."""
    module = getattr(torch, device.type)
    wait = getattr(module, "synchronize", lambda: None)
    work()
    wait()
    if hasattr(module, "reset_peak_memory_stats"):
        module.reset_peak_memory_stats()
    start = time.perf_counter()
    work()
    wait()
    seconds = time.perf_counter() - start
    return seconds, getattr(module, "max_memory_allocated", lambda: 0)() / 2**20


def plain_pass(setting: Setting, device: str, dtype: torch.dtype, batch_size: int) -> None:
    """Do a training step's forward and backward pass over the training set, and no step."""
    network = moved(setting.network, device, dtype)
    for batch in setting.train.to(dtype).split(batch_size):
        noisy = batch.to(device)
        timesteps = torch.zeros(len(noisy), dtype=torch.int64, device=device)
        loss = network(noisy, timesteps).sample.square().mean()
        torch.autograd.grad(loss, list(network.parameters()))


def check(setting: Setting, device: str, report: Callable[..., None]) -> None:
    """Compare scores, type by type."""
    exact = setting.scores("cpu", torch.float64)
    single = setting.scores(device, torch.float32)
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        if device == "mps" and dtype == torch.float64:
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
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    report("float32 without TF32", error(setting.scores(device, torch.float32), exact), 1e-3)
    torch.backends.cudnn.allow_tf32 = allowed


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


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="cifar")
    parser.add_argument("--json", type=Path, help="where to write the facts")
    chosen = parser.parse_args(arguments)
    if chosen.device.startswith("pretend"):
        from tests.pretend.device import install

        install()
    setting, facts, failed = setting_of(chosen.size), {}, []

    def report(what: str, value: float, bound: float | None = None) -> None:
        facts[what] = value
        wrong = bound is not None and not value <= bound
        failed.extend([what] * wrong)
        told = "" if bound is None else f"  (at most {bound:g}){'  FAILED' if wrong else ''}"
        print(f"{what}: {value:.4g}{told}", flush=True)

    check(setting, chosen.device, report)
    measure(setting, chosen.device, report)
    if chosen.json:
        chosen.json.write_text(json.dumps(facts, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
