"""The small run that attributors are measured on, with its training set and queries."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.digits.source import digits_and_patches
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Draws
from retrac_plugin.model.diffusion import DiffusionModel

TRAIN, QUERIES = 32, 4
"""Images: scikit-learn's first digits, and those that follow."""

RECIPE = Recipe(
    network={
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        # Two channels a group: normalised alone, one would forget what the timestep adds to it.
        "block_out_channels": (4, 8),
        "norm_num_groups": 2,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
        "dropout": 0.0,
    },
    scheduler={
        "num_train_timesteps": 1000,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "epsilon",
        "clip_sample": True,
        "timestep_spacing": "leading",
    },
    steps=40,
    batch_size=TRAIN,
    learning_rate=3e-3,
    warmup_steps=2,
    decay_start=30,
    final_learning_rate=3e-4,
    checkpoint_steps=(20, 40),
    seed=0,
    sampling_steps=5,
)
"""A U-Net of two levels with attention in its middle, trained for 40 passes over the images."""

QUERY_DRAWS = retrac.Strided(5, noise_draws=2, seed=0)
BATCH_SIZE = 64

FEW = ("time_embedding.linear_1.*", "conv_out.*")
"""The parameters that are attributed where every number is checked, a linear layer and a
convolution: plain loops form and invert Hessians of them whole."""


@dataclass(frozen=True, eq=False)
class SmallRun:
    """A model, its checkpoints, data, draws."""

    model: DiffusionModel
    checkpoints: list[Checkpoint]
    train: Tensor
    queries: Tensor
    train_draws: Draws
    query_draws: Draws = QUERY_DRAWS


def small_run(directory: Path) -> SmallRun:
    """Train it, unless it lies in the folder already, and return it."""
    images = digits_and_patches().images
    train_once(images[:TRAIN], RECIPE, directory)
    run = retrac.read_run(directory)
    queries = images[TRAIN : TRAIN + QUERIES]
    return SmallRun(run.model, list(run.checkpoints), images[:TRAIN], queries, run.train_draws)


def exact(run: SmallRun) -> SmallRun:
    """Return the run in float64, with few parameters attributed."""
    model = replace(run.model, network=copy.deepcopy(run.model.network).double())
    return replace(
        run,
        model=model.attributing(*FEW),
        train=run.train.to(torch.float64),
        queries=run.queries.to(torch.float64),
    )
