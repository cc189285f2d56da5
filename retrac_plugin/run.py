"""A training run: the model, its checkpoints and, where it was recorded, its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from retrac_plugin.checkpoints import Checkpoint
from retrac_plugin.diffusion import DiffusionModel
from retrac_plugin.draws import Draws, Recorded, Uniform
from retrac_plugin.errors import CheckpointError
from retrac_plugin.findings import (
    CONTRADICTION,
    NOT_MODELLED,
    NOT_RECORDED,
    Finding,
    of_kind,
)
from retrac_plugin.image_files import ExampleReader, FileExamples, PlainFiles
from retrac_plugin.redrawing import with_other_draws
from retrac_plugin.trace import Trace, is_recorded, read_trace

CACHE = "retrac-cache"
"""Folder for what is encoded once."""


@dataclass(frozen=True, eq=False)
class Run:
    """What ``retrac_plugin.read_run`` found.

    Attributes:
        model: The diffusion model.
        checkpoints: Oldest first.
        trace: What training recorded, or None.
        findings: What is known and what is not, and what that means for the scores.
        recorded: Draws that training kept in another way than a trace, or None.
        reader: How its images become examples.
    """

    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    trace: Trace | None = None
    findings: Sequence[Finding] = ()
    recorded: Draws | None = None
    reader: ExampleReader = field(default_factory=PlainFiles)

    @property
    def train_draws(self) -> Draws:
        """The draws of training: recorded where they were, else drawn as in training."""
        if self.recorded is not None:
            return self.recorded
        return Uniform(1) if self.trace is None else Recorded(self.trace)

    def train_examples(
        self,
        path: str | Path | None = None,
        *,
        cache: str | Path = CACHE,
        device: str | torch.device | None = None,
    ) -> FileExamples:
        """Read the training set: of a latent model, latents with what captions became.

        Args:
            path: A folder of images, with captions where the model is told some, or a file of
                tensors; default: the folder that the script's arguments name.
            cache: Folder for what is encoded, once; examples are encoded when they are asked for,
                or all of them by ``prepare()``.
            device: Where to encode; default: where the network is.

        Raises:
            InputError: If the images, or their captions, cannot be found or read.
            TraceError: If they are other files than those whose names were recorded.
        """
        folder = None if path is None else Path(path)
        examples = self.reader.train(folder, Path(cache), self._device(device))
        if self.trace is not None:
            self.trace.check_names(examples.names)
        return examples

    def query_examples(
        self,
        path: str | Path,
        prompt: str | None = None,
        *,
        cache: str | Path = CACHE,
        device: str | torch.device | None = None,
    ) -> FileExamples:
        """Read pictures to explain.

        Args:
            path: An image, a folder of images, or a file of tensors: images, or latents.
            prompt: What all of them were generated from; a folder may have captions instead.
            cache: As of ``train_examples``.
            device: Likewise.

        Raises:
            InputError: If they cannot be read, or the model is told captions and there are none.
        """
        return self.reader.queries(Path(path), prompt, Path(cache), self._device(device))

    def _device(self, device: str | torch.device | None) -> torch.device:
        own = next(self.model.network.parameters()).device
        return own if device is None else torch.device(device)

    @property
    def is_drawn(self) -> bool:
        """Whether timesteps or noise of training are drawn anew, since they were not recorded."""
        draws = self.train_draws
        return with_other_draws(draws, 1) is not draws

    @property
    def description(self) -> str:
        """What was found, and what was not recorded, in a few lines."""
        schedule = self.model.schedule
        steps = ", ".join(str(checkpoint.step) for checkpoint in self.checkpoints)
        recorded = "recorded, and replayed"
        if isinstance(self.train_draws, Uniform):
            recorded = "not recorded, so drawn anew as training would"
        elif self.trace is not None and self.trace.noise_is_new:
            recorded = "the timesteps recorded and replayed, the noise drawn anew"
        told = of_kind(self.findings, NOT_RECORDED, NOT_MODELLED, CONTRADICTION)
        return "\n".join(
            [
                f"{type(self.model.network).__name__}, {len(self.model.attributed_names())} "
                f"attributed tensors, {schedule.num_timesteps} timesteps, prediction type "
                f"{schedule.prediction_type}",
                f"{len(self.checkpoints)} checkpoints: steps {steps}",
                f"training timesteps and noise: {recorded}",
                *map(str, told),
            ]
        )


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
    found = {int(number): path for number, path in numbered if number.isdigit()}
    if not found:
        raise CheckpointError(f"no checkpoint-STEP folder in {str(directory)!r}")
    return dict(sorted(found.items()))


def find_trace(folders: dict[int, Path]) -> Trace | None:
    """Return the trace of a run that was recorded, or None.

    Raises:
        TraceError: If it is damaged.
    """
    directory = next(iter(folders.values())).parent
    return read_trace(directory) if is_recorded(directory) else None


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
