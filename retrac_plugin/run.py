"""A training run: the model, its checkpoints and, where it was recorded, its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.checkpoints import Checkpoint
from retrac_plugin.diffusion import DiffusionModel
from retrac_plugin.draws import Draws, Recorded, Uniform
from retrac_plugin.errors import CheckpointError
from retrac_plugin.trace import Trace, is_recorded, read_trace


@dataclass(frozen=True, eq=False)
class Run:
    """What ``retrac_plugin.read_run`` found.

    Attributes:
        model: The diffusion model.
        checkpoints: Oldest first.
        trace: What training recorded, or None.
    """

    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    trace: Trace | None = None

    @property
    def train_draws(self) -> Draws:
        """The draws of training: recorded where they were, else drawn as in training."""
        return Uniform(1) if self.trace is None else Recorded(self.trace)

    @property
    def description(self) -> str:
        """What was found, and what was not recorded, in a few lines."""
        schedule = self.model.schedule
        steps = ", ".join(str(checkpoint.step) for checkpoint in self.checkpoints)
        recorded = (
            "recorded, and replayed"
            if self.trace is not None
            else "not recorded, so drawn anew as training would, with all step sizes equal"
        )
        return (
            f"{type(self.model.network).__name__}, {len(self.model.attributed_names())} attributed "
            f"tensors, {schedule.num_timesteps} timesteps, prediction type "
            f"{schedule.prediction_type}\n"
            f"{len(self.checkpoints)} checkpoints: steps {steps}\n"
            f"training timesteps and noise: {recorded}"
        )


def read_checkpoints(directory: Path) -> tuple[list[Checkpoint], Trace | None]:
    """Read a run's ``checkpoint-STEP`` folders, oldest first, and its trace where there is one.

    Step sizes are learning rate times visits per sample since the checkpoint before, as recorded;
    all equal to 1 where nothing was.

    Raises:
        CheckpointError: If there is no checkpoint.
    """
    steps = sorted(_steps(directory).items())
    if not steps:
        raise CheckpointError(f"no checkpoint-STEP folder in {str(directory)!r}")
    if not is_recorded(directory):
        return [Checkpoint(path, 1.0, step) for step, path in steps], None
    trace = read_trace(directory)
    starts = [0, *(step for step, _ in steps[:-1])]
    checkpoints = [
        Checkpoint(path, trace.step_size_between(start, step), step)
        for start, (step, path) in zip(starts, steps, strict=True)
    ]
    return checkpoints, trace


def _steps(directory: Path) -> dict[int, Path]:
    folders = (path for path in directory.glob("checkpoint-*") if path.is_dir())
    numbered = ((path.name.removeprefix("checkpoint-"), path) for path in folders)
    return {int(number): path for number, path in numbered if number.isdigit()}
