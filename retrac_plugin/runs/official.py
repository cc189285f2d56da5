"""Runs of the paper's own training code: ``ckpt_EPOCH_STEP.pth`` with what its last epoch did.

Each file holds ``model_state``, and of the epoch that it ends the ``timesteps [step, batch]``,
``noise [step, batch, *sample]`` and ``batch [step][batch]`` of sample indices. See
https://github.com/txie1/diffusion-ReTrac, ``train.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.checkpoints.weight_files import check_state_dict, read_safely
from retrac_plugin.draws import Draw, Request
from retrac_plugin.errors import CheckpointError, InputError, TraceError
from retrac_plugin.hookspecs import RunRequest
from retrac_plugin.runs.findings import FOUND, NOT_RECORDED, Finding
from retrac_plugin.runs.run import Run

FILE = re.compile(r"ckpt_(\d+)_\d+\.pth")
FIELDS = ("model_state", "timesteps", "noise", "batch")


def find_files(directory: Path) -> dict[int, Path]:
    """Return a folder's checkpoint files by epoch, oldest first; empty if it is no such run."""
    matches = ((FILE.fullmatch(path.name), path) for path in directory.glob("ckpt_*.pth"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def read_official(request: RunRequest, files: Mapping[int, Path]) -> Run:
    """Read a run; its network comes from the request, since the folder does not describe it.

    Raises:
        InputError: If the request brings no model, or asks for EMA weights.
    """
    asked = (request.weights, request.query_weights or "raw", request.optimizer)
    if request.model is None or asked != ("raw", "raw", "plain"):
        raise InputError(
            f"{str(request.directory)!r} holds checkpoints of the paper's own training code, which "
            "describe no network and keep no EMA and no optimiser: pass model=retrac.wrap(network, "
            "scheduler, predict=...), weights='raw' and optimizer='plain'"
        )
    rate = request.arguments.get("learning_rate")
    epochs = list(files)
    intervals = [b - a for a, b in zip([0, *epochs[:-1]], epochs, strict=True)]
    checkpoints = [
        Checkpoint(path, (1.0 if rate is None else rate) * interval, epoch, read_model_state)
        for interval, (epoch, path) in zip(intervals, files.items(), strict=True)
    ]
    findings = [
        Finding(FOUND, "timesteps and noise", "of the last epoch before each checkpoint, replayed"),
        _describe_rate(rate),
    ]
    recorded = LastEpochs(files)
    return Run(request.model, checkpoints, None, findings, recorded)


def read_model_state(path: Path) -> dict[str, Tensor]:
    """Return the network's state dict from one file.

    Raises:
        CheckpointError: If the file is damaged, unsafe, or of another kind.
    """
    return check_state_dict(read_epoch(path)["model_state"], path)


def read_epoch(path: Path) -> dict[str, Any]:
    """Return what one file holds; tensors stay on disk until they are used.

    Raises:
        CheckpointError: If the file is damaged, unsafe, or of another kind.
    """
    held = read_safely(path)
    missing = [name for name in FIELDS if not isinstance(held, Mapping) or name not in held]
    if missing:
        raise CheckpointError(
            f"{str(path)!r} is no checkpoint of the paper's training code: expected the fields "
            f"{', '.join(FIELDS)}, missing are {', '.join(missing)}"
        )
    return dict(held)


@dataclass(frozen=True)
class LastEpochs:
    """The timestep and noise of each sample in the last epoch before each checkpoint.

    Attributes:
        files: By the step of the checkpoint, which is its epoch.
    """

    files: Mapping[int, Path]

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return 1, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``.

        Raises:
            TraceError: If a sample was in no batch of that epoch; that code drops an incomplete
                last batch.
            InputError: If the samples are shaped otherwise than the noise.
        """
        file = self.files[request.step]
        timesteps, noise, places = _visits(file)
        missing = [i for i in request.ids if i not in places]
        if missing:
            raise TraceError(
                f"sample {missing[0]} was in no batch of the epoch that {file.name} recorded: that "
                "code leaves out an incomplete last batch. Leave the sample out of the training "
                "set, or pass train_draws=Uniform(1)"
            )
        at = torch.tensor([places[i] for i in request.ids])
        if noise.shape[1:] != request.shape:
            raise InputError(
                f"the recorded noise is shaped {tuple(noise.shape[1:])}, the samples "
                f"{tuple(request.shape)}"
            )
        return Draw(timesteps[at][:, None], noise[at][:, None, None])


@lru_cache(maxsize=1)
def _visits(path: Path) -> tuple[Tensor, Tensor, dict[int, int]]:
    """Return one file's timesteps and noise by visit, and the last visit of each sample."""
    epoch = read_epoch(path)
    timesteps, noise = epoch["timesteps"].flatten(0, 1), epoch["noise"].flatten(0, 1)
    ids: Sequence[int] = [int(i) for batch in epoch["batch"] for i in batch]
    if len(ids) != len(timesteps) or len(ids) != len(noise):
        raise TraceError(
            f"{str(path)!r} names {len(ids)} samples for {len(timesteps)} timesteps and "
            f"{len(noise)} noises"
        )
    return timesteps, noise, {sample_id: visit for visit, sample_id in enumerate(ids)}


def _describe_rate(rate: float | None) -> Finding:
    if rate is None:
        return Finding(
            NOT_RECORDED,
            "step sizes",
            "taken as epochs since the checkpoint before, up to the learning rate: pass "
            "arguments={'learning_rate': ...} for the scale of scores",
        )
    return Finding(FOUND, "step sizes", f"learning rate {rate:g} times epochs since the one before")
