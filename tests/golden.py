"""The golden cases: float64 scores that plain loops computed from the papers' formulas."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import retrac_plugin as retrac

_SHARED = Path(__file__).resolve().parents[2] / "shared"
FOLDER = Path(os.environ.get("RETRAC_SHARED", _SHARED)) / "golden"
BOUND = 1e-9 if os.environ.get("ATEN_CPU_CAPABILITY") != "default" else 1e-7
"""Wider without vector instructions, by which diffusers' timestep embeddings in float32 differ."""

NAMES = ("unet_plain", "unet_conditional")


@dataclass(frozen=True, eq=False)
class GoldenCase:
    name: str
    model: retrac.DiffusionModel
    checkpoints: list[retrac.Checkpoint]
    train: list[dict[str, Tensor]]
    queries: list[dict[str, Tensor]]
    train_draws: retrac.Given
    query_draws: retrac.Given
    tracin: Tensor
    retrac: Tensor
    tracin_self_influence: Tensor
    train_gradient_norms: Tensor


def load(name: str) -> GoldenCase:
    """Return a golden case, or skip the test where its files are absent."""
    folder = FOLDER / name
    if not (folder / "tensors.safetensors").is_file():
        pytest.skip(f"no golden case at {folder}: set RETRAC_SHARED to the folder above golden/")
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "tensors.safetensors")
    return GoldenCase(
        name=name,
        model=retrac.wrap(_build(config["network"]).double().eval(), _build(config["scheduler"])),
        checkpoints=[
            retrac.Checkpoint(_starting_with(f"checkpoint_{k}/", tensors), float(step_size))
            for k, step_size in enumerate(tensors["step_sizes"])
        ],
        train=_examples("train", tensors),
        queries=_examples("query", tensors),
        train_draws=retrac.Given(tensors["train_timesteps"], tensors["train_noise"]),
        query_draws=retrac.Given(tensors["query_timesteps"], tensors["query_noise"]),
        tracin=tensors["diffusion_tracin"],
        retrac=tensors["diffusion_retrac"],
        tracin_self_influence=tensors["tracin_self_influence_at_recorded_draw"],
        train_gradient_norms=tensors["train_gradient_norms"],
    )


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    """Assert equality to ``BOUND`` of the largest expected value, in float64."""
    assert actual.dtype == torch.float64
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < BOUND, f"relative error {error:.1e}"


def _build(config: dict[str, Any]) -> Any:
    return getattr(diffusers, config["_class_name"]).from_config(config)


def _starting_with(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _examples(side: str, tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    fields = {"sample": tensors[f"{side}_x"]}
    if f"{side}_condition" in tensors:
        fields["encoder_hidden_states"] = tensors[f"{side}_condition"]
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
