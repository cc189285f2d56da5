"""The checkpoints of a run, and the step sizes they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.errors import CheckpointError
from retrac_plugin.trace.reading import is_recorded, read_trace
from retrac_plugin.trace.trace import Trace


def read_checkpoints(directory: Path) -> tuple[list[Checkpoint], Trace | None]:
    """Read the checkpoints of a training of one's own, and its trace where there is one.

    Step sizes are as recorded; where nothing was, the steps since the checkpoint before.

    Raises:
        CheckpointError: If there is no checkpoint.
        TraceError: If the trace is damaged.
    """
    folders = checkpoint_folders(directory)
    steps, trace = list(folders), find_trace(folders)
    if trace is None:
        step_sizes = step_sizes_of_rates([1.0] * len(steps), steps, 1.0)
    else:
        step_sizes = step_sizes_of_trace(trace, steps)
    series = zip(folders.items(), step_sizes, strict=True)
    return [Checkpoint(folder, size, step) for (step, folder), size in series], trace


def checkpoint_folders(directory: Path) -> dict[int, Path]:
    """Return a run's ``checkpoint-STEP`` folders by step, oldest first.

    Raises:
        CheckpointError: If there is none.
    """
    folders = (path for path in directory.glob("checkpoint-*") if path.is_dir())
    numbered = ((path.name.removeprefix("checkpoint-"), path) for path in folders)
    found = {int(number): path for number, path in numbered if number.isdecimal()}
    if not found:
        raise CheckpointError(
            f"no checkpoint-STEP folder in {str(directory)!r}{_remedy(directory)}"
        )
    return dict(sorted(found.items()))


def _remedy(directory: Path) -> str:
    if not (directory / "model_index.json").is_file():
        return ""
    return (
        ": a pipeline holds the weights at the end of training alone. Train with "
        "--checkpointing_steps; or, for the weights that are there, make a folder checkpoint-STEP "
        "of the steps that were trained, and copy the pipeline's denoiser folder into it"
    )


def find_trace(folders: dict[int, Path]) -> Trace | None:
    """Return the trace of a run that was recorded, or None.

    Raises:
        TraceError: If it is damaged.
    """
    directory = next(iter(folders.values())).parent
    return read_trace(directory) if is_recorded(directory) else None


def without_steps(checkpoints: Sequence[Checkpoint], steps: Sequence[int]) -> list[Checkpoint]:
    """Return the others of some checkpoints, oldest first.

    The next one after those that are left out has their step sizes besides its own, since it stands
    for the training since the one before; after the last one, none does.
    """
    kept, waiting = [], 0.0
    for checkpoint in checkpoints:
        if checkpoint.step in steps:
            waiting += checkpoint.step_size
        else:
            kept.append(replace(checkpoint, step_size=checkpoint.step_size + waiting))
            waiting = 0.0
    return kept


def step_sizes_of_trace(trace: Trace, steps: Sequence[int]) -> list[float]:
    """Return learning rate times visits per sample between one checkpoint and the next."""
    starts = [0, *steps[:-1]]
    return [trace.step_size_between(a, b) for a, b in zip(starts, steps, strict=True)]


def step_sizes_of_rates(
    rates: Sequence[float], steps: Sequence[int], visits_per_step: float
) -> list[float]:
    """Return the step sizes of a run that kept its learning rates at the checkpoints alone.

    Between two checkpoints the learning rate is taken as the mean of theirs, which is exact where
    it is constant or falls linearly; before the first one, as that one's.

    Args:
        rates: Learning rate at each checkpoint.
        steps: Training step of each checkpoint.
        visits_per_step: Visits of an average sample in one step.
    """
    starts, before = [0, *steps[:-1]], [rates[0], *rates[:-1]]
    return [
        (early + late) / 2 * (stop - start) * visits_per_step
        for start, stop, early, late in zip(starts, steps, before, rates, strict=True)
    ]
