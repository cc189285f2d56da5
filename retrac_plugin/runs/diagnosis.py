"""What is known of a run, and whether its checkpoints can be used at all."""

from __future__ import annotations

import torch

from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.errors import CheckpointError
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, Finding
from retrac_plugin.runs.run import Run


def diagnose(run: Run) -> list[Finding]:
    """Return a run's findings, and those of loading each of its checkpoints.

    Checkpoints are loaded one at a time, so it takes as long as reading them all.
    """
    of_weights = [_check_weights(run, checkpoint) for checkpoint in run.checkpoints]
    wrong = [finding for finding in of_weights if finding is not None]
    if not wrong:
        wrong = [Finding(FOUND, "weights", f"all {len(of_weights)} checkpoints fit the network")]
    return [*run.findings, *wrong]


def _check_weights(run: Run, checkpoint: Checkpoint) -> Finding | None:
    """Return what is wrong with a checkpoint's weights, or None."""
    try:
        tensors = load_into(run.model.network, checkpoint, torch.device("cpu"))
    except CheckpointError as error:
        return Finding(CONTRADICTION, "weights", str(error))
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        text = f"{checkpoint.name}: {len(bad)} tensors are not finite, {bad[0]!r} among them"
        return Finding(CONTRADICTION, "weights", f"{text}; its gradients cannot be used")
    return None
