"""Where a run's checkpoints keep the weights, and whether the series is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from retrac_adapters.scripts.arguments import Arguments
from retrac_adapters.scripts.layout import LORA_FILE, Layout
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_RECORDED, Finding

EMA = "_ema"
"""What the scripts append to the denoiser's folder for the moving average of its weights."""


def weight_files(layout: Layout, folders: Mapping[int, Path], weights: str) -> list[Path]:
    """Return where each checkpoint keeps the weights that are asked for.

    Args:
        layout: The run.
        folders: Checkpoint folders by step, oldest first.
        weights: ``"raw"`` or ``"ema"``.

    Raises:
        InputError: If the moving average is asked for and a checkpoint does not keep it.
    """
    if weights == "ema":
        return [_ema_in(folder, layout) for folder in folders.values()]
    if layout.lora is not None:
        return [folder / LORA_FILE for folder in folders.values()]
    own = {folder: folder / layout.part for folder in folders.values()}
    return [path if path.is_dir() else folder for folder, path in own.items()]


def describe_series(
    layout: Layout, folders: Mapping[int, Path], weights: str, arguments: Arguments
) -> list[Finding]:
    """Return which weights were taken, and what the series of checkpoints lacks."""
    steps = list(folders)
    averaged = [step for step, folder in folders.items() if (folder / _ema(layout)).is_dir()]
    kept = "raw and EMA weights" if averaged else "raw weights"
    findings = [
        Finding(
            FOUND,
            "checkpoints",
            f"{len(steps)} from step {steps[0]} to {steps[-1]}; {kept} kept, {weights} taken",
        )
    ]
    if arguments.get("use_ema") and not averaged:
        text = f"the arguments say use_ema, but no checkpoint has a folder {_ema(layout)}"
        findings.append(Finding(CONTRADICTION, "EMA", text))
    if len(steps) < _FEW:
        text = f"only {len(steps)}: the path of the training between them is not seen"
        findings.append(Finding(NOT_RECORDED, "checkpoints", text))
    return [*findings, *_gaps(steps, arguments)]


_FEW = 3


def _ema(layout: Layout) -> str:
    return f"{layout.part}{EMA}"


def _ema_in(folder: Path, layout: Layout) -> Path:
    path = folder / _ema(layout)
    if not path.is_dir():
        raise InputError(
            f"weights='ema': {str(folder)!r} has no folder {_ema(layout)}, so the run kept no "
            "moving average there. Use weights='raw'"
        )
    return path


def _gaps(steps: Sequence[int], arguments: Arguments) -> list[Finding]:
    """Return what is missing before, between and after the checkpoints."""
    findings = []
    every = int(arguments.get("checkpointing_steps", _spacing(steps)))
    missing = sorted(set(range(every, steps[-1], every)) - set(steps)) if every else []
    if missing:
        findings.append(
            Finding(
                CONTRADICTION,
                "checkpoints",
                f"one every {every} steps was written, but {len(missing)} of them are missing, the "
                f"first of step {missing[0]} (checkpoints_total_limit deletes them); the next one "
                "stands for the steps before it",
            )
        )
    last = arguments.get("max_train_steps")
    if last is not None and int(last) > steps[-1]:
        text = f"the last {int(last) - steps[-1]} steps of training have no checkpoint"
        findings.append(Finding(CONTRADICTION, "checkpoints", text))
    return findings


def _spacing(steps: Sequence[int]) -> int:
    """Return the interval at which checkpoints seem to have been written, or 0 for none."""
    intervals = [b - a for a, b in pairwise(steps)]
    smallest = min(intervals, default=0)
    regular = smallest and all(step % smallest == 0 for step in steps)
    return smallest if regular else 0
