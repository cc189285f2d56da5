"""What is known of a run, and whether it can be attributed at all."""

from __future__ import annotations

from pathlib import Path

import torch

from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.errors import CheckpointError, RetracError, UnnamedDataError
from retrac_plugin.runs.findings import (
    FOUND,
    NOT_RECORDED,
    UNUSABLE,
    Finding,
    of_kind,
)
from retrac_plugin.runs.run import CACHE, Run
from retrac_plugin.runs.trial import try_one


def diagnose(run: Run, train: Path | None = None, cache: str | Path = CACHE) -> list[Finding]:
    """Return a run's findings, those of loading each checkpoint, and of its training set.

    Checkpoints are loaded one at a time, so it takes as long as reading them all. A training set
    that is told, or that the run names, is read as attribution reads it, and the loss of its first
    sample is computed.

    Args:
        run: The run.
        train: Its training set; None for the one that it names.
        cache: Folder for what is encoded, once.
    """
    of_weights = [_check_weights(run, checkpoint) for checkpoint in run.checkpoints]
    wrong = [finding for finding in of_weights if finding is not None]
    if not wrong:
        wrong = [Finding(FOUND, "weights", f"all {len(of_weights)} checkpoints fit the network")]
    found = [*run.told, *wrong]
    if of_kind(found, UNUSABLE):
        return found  # then the training set is not looked at either
    return [*found, _check_examples(run, train, cache)]


def _check_weights(run: Run, checkpoint: Checkpoint) -> Finding | None:
    """Return what is wrong with a checkpoint's weights, or None."""
    try:
        tensors = load_into(run.model.network, checkpoint, torch.device("cpu"))
    except CheckpointError as error:
        return Finding(UNUSABLE, "weights", str(error))
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        text = f"{checkpoint.name}: {len(bad)} tensors are not finite, {bad[0]!r} among them"
        return Finding(UNUSABLE, "weights", f"{text}; its gradients cannot be used")
    return None


def _check_examples(run: Run, train: Path | None, cache: str | Path) -> Finding:
    """Return whether the training set can be read, and used by the denoiser."""
    try:
        examples = run.train_examples(train, cache=cache)
        loss = try_one(run, examples)
    except UnnamedDataError as error:
        return Finding(NOT_RECORDED, "training set", f"not looked at: {error}")
    except RetracError as error:
        return Finding(UNUSABLE, "training set", str(error))
    return Finding(
        FOUND, "training set", f"{len(examples)} samples; the first one's loss is {loss:.3g}"
    )
