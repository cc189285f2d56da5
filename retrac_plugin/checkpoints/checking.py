"""What a series of checkpoints must be before anything is computed at it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.errors import InputError


def check_checkpoints(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints as a list.

    Raises:
        InputError: If there is none, one is not a ``Checkpoint``, a step size is not finite, or all
            are 0.
    """
    if isinstance(checkpoints, Checkpoint):
        raise InputError("checkpoints: expected a list of them, got one: write [checkpoint]")
    series = list(checkpoints)
    if not series:
        raise InputError("no checkpoint: expected at least one retrac_plugin.Checkpoint")
    for position, checkpoint in enumerate(series):
        if not isinstance(checkpoint, Checkpoint):
            raise InputError(
                f"checkpoint {position}: expected a retrac_plugin.Checkpoint, got a "
                f"{type(checkpoint).__name__}. Write Checkpoint(parameters=..., step_size=...)"
            )
        if not torch.isfinite(torch.tensor(checkpoint.step_size)):
            raise InputError(f"checkpoint {position}: step_size is {checkpoint.step_size}")
    if not any(checkpoint.step_size for checkpoint in series):
        raise InputError(
            "every checkpoint has the step size 0, so every score would be 0: give each the "
            "learning rate times the visits that it stands for, or 1.0 where they are not known"
        )
    return series


def check_same_weights(name: str, checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse weights of the queries' own, where a method takes both sides' gradients at one point.

    Args:
        name: The method's.
        checkpoints: What it was given.

    Raises:
        InputError: If any checkpoint has some.
    """
    _refuse(
        name,
        checkpoints,
        "query_parameters",
        "has other weights for the queries, and this method takes both sides at the same ones. "
        "Read the run without query_weights",
    )


def check_plain_steps(name: str, checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse checkpoints with a preconditioner, where a framework takes gradients itself.

    Args:
        name: The method's.
        checkpoints: What it was given.

    Raises:
        InputError: If there is any.
    """
    _refuse(
        name,
        checkpoints,
        "preconditioner",
        "has a preconditioner, and the framework takes gradients as they are. Read the run with "
        "optimizer='plain'",
    )


def _refuse(name: str, checkpoints: Sequence[Checkpoint], field: str, why: str) -> None:
    for position, checkpoint in enumerate(checkpoints):
        if getattr(checkpoint, field) is not None:
            raise InputError(
                f"{name}: checkpoint {position} {why}, or give "
                f"dataclasses.replace(checkpoint, {field}=None)"
            )
