"""A tiny U-Net's scores in float64, which plain loops computed from the papers' formulas.

``golden.safetensors`` holds weights, images, timesteps and noise, whose numbers are all float32's,
and what came out. The tests compute it once more, and ``python -m tests.adapters.measuring.golden``
writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.facts import Fact
from retrac_plugin.attribution.attributors import (
    DiffusionReTrac,
    DiffusionTracIn,
    attribute_together,
)
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Given
from retrac_plugin.model.wrapping import wrap

FILE = Path(__file__).with_name("golden.safetensors")
METHODS = {"diffusion_tracin": DiffusionTracIn, "diffusion_retrac": DiffusionReTrac}
BOUND = 1e-9


def network() -> UNet2DModel:
    """Return the network, in float64, with whatever weights."""
    made = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
        attention_head_dim=4,
    )
    return made.double().eval()


def checkpoint(tensors: dict[str, Tensor], position: int) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, in float64."""
    start = f"checkpoint_{position}/"
    found = {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
    return {name: value.double() for name, value in found.items()}


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest number."""
    return float((found.cpu() - expected.cpu()).abs().max() / expected.abs().max())


def check_golden(device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Compare scores and gradient norms with the plain loops'."""
    tensors = load_file(FILE)
    steps = tensors["step_sizes"].tolist()
    states = [checkpoint(tensors, position) for position in range(len(steps))]
    series = [Checkpoint(state, step) for state, step in zip(states, steps, strict=True)]
    model = wrap(torch.nn.Module.to(network(), device), DDPMScheduler())
    draws: dict[str, Any] = {
        f"{side}_draws": Given(tensors[f"{side}_timesteps"], tensors[f"{side}_noise"].double())
        for side in ("train", "query")
    }
    made = [
        method(
            model,
            series,
            **draws,
            batch_size=3,
            device=device,
            progress=clock.bar,
        )
        for method in METHODS.values()
    ]
    sides = (list(tensors[side].double()) for side in ("train", "queries"))
    for name, scores in zip(METHODS, attribute_together(made, *sides), strict=True):
        what = name.replace("_", "-")
        yield Fact((f"{what}, float64",), "found", error(scores.values, tensors[name]), BOUND)
    if scores.gradient_norms is not None:
        norms = error(scores.gradient_norms, tensors["gradient_norms"])
        yield Fact(("gradient norms, float64",), "found", norms, BOUND)
