"""A training run: the model, its checkpoints and, where it was recorded, its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.image_files import ExampleReader, FileExamples, PlainFiles
from retrac_plugin.draws import Draws, Recorded, Uniform
from retrac_plugin.draws.redrawing import with_other_draws
from retrac_plugin.errors import InputError
from retrac_plugin.model.devices import usable_device
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.runs.drawer import UNKNOWN, Drawer
from retrac_plugin.runs.findings import (
    CONTRADICTION,
    NOT_MODELLED,
    NOT_RECORDED,
    UNUSABLE,
    Finding,
    of_kind,
)
from retrac_plugin.runs.replayed import describe_coverage
from retrac_plugin.runs.series import without_steps
from retrac_plugin.trace.trace import Trace

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
        drawer: Draws pictures as its pipeline does; or, as a sentence, why nothing does.
    """

    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    trace: Trace | None = None
    findings: Sequence[Finding] = ()
    recorded: Draws | None = None
    reader: ExampleReader = field(default_factory=PlainFiles)
    drawer: Drawer | str = UNKNOWN

    @property
    def train_draws(self) -> Draws:
        """The draws of training: recorded where they were, else drawn as in training."""
        if self.recorded is not None:
            return self.recorded
        return Uniform(1) if self.trace is None else Recorded(self.trace, self.steps)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the checkpoints, where they are known."""
        return tuple(c.step for c in self.checkpoints if c.step is not None)

    @property
    def told(self) -> list[Finding]:
        """The findings, and what the recorded visits mean for the checkpoints."""
        return [*self.findings, *describe_coverage(self.trace, self.steps)]

    def without(self, *steps: int) -> Run:
        """Return the run without some of its checkpoints; the next ones stand for their steps too.

        Raises:
            InputError: If there is no checkpoint of a step, or none is left.
        """
        missing = [step for step in steps if step not in self.steps]
        if missing or len(set(steps)) == len(self.checkpoints):
            raise InputError(
                f"cannot leave out the checkpoints of steps {', '.join(map(str, steps))}: the run "
                f"has {', '.join(map(str, self.steps))}, and one at least must be left"
            )
        return replace(self, checkpoints=without_steps(self.checkpoints, steps))

    def check_usable(self) -> None:
        """Refuse a run that cannot be attributed as it is.

        Raises:
            InputError: For the first of the reasons that ``told`` gives.
        """
        for finding in of_kind(self.told, UNUSABLE):
            raise InputError(f"{finding.subject}: {finding.text}")

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
            InputError: If the images, or their captions, cannot be found or read, or the run cannot
                be attributed.
            TraceError: If they are other files than those whose names were recorded.
        """
        self.check_usable()
        folder = None if path is None else Path(path)
        examples = self.reader.train(folder, Path(cache), self.device(device))
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
        return self.reader.queries(Path(path), prompt, Path(cache), self.device(device))

    def device(self, device: str | torch.device | None) -> torch.device:
        """Return a device that was asked for; where the network is if none was."""
        own = next(self.model.network.parameters()).device
        return own if device is None else usable_device(device)

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
        told = of_kind(self.told, NOT_RECORDED, NOT_MODELLED, CONTRADICTION, UNUSABLE)
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
