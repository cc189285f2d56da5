"""What is seen of a training script, put together: which visits ended in which step."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.randomness import content_key
from retrac_plugin.recording.arguments import check_supported, output_dir, without_secrets
from retrac_plugin.recording.identity import TrainingSet, rows_of_each
from retrac_plugin.recording.processes import this_process
from retrac_plugin.recording.visit_log import VisitLog, Visits
from retrac_plugin.trace.parts import FIRST, HASHED_LOOKS, Origin

LADDER = {"timesteps": (), "noise": ("noise",), "samples": ("noise", "samples")}
"""How much to keep of each sample's last visit before a checkpoint: each rung holds the last."""

STEP_IN_NAME = re.compile(r"checkpoint-(\d+)")


class ScriptRecording:
    """Records the training that a script does.

    A mistake that shows before anything was recorded ends the script, so that it can be put right.
    Later nothing here may end a training: recording stops with a warning, and the training goes on.

    Args:
        keep: A key of ``LADDER``.
        out: The folder of the run, or None for the one that the script names.
        command: The script and its arguments, to be written down.
    """

    def __init__(self, keep: str, out: Path | None, command: Sequence[str]) -> None:
        self.keep, self.command = LADDER[keep], without_secrets(command)
        check_supported(command)
        self.step = self.start = 0
        self.log: VisitLog | None = None
        self.stopped = False
        self._out = out if out is not None else output_dir(command)
        self._batch: tuple[Tensor | None, Any] = None, None
        self._seen = False
        self._pending: list[Visits] = []
        self._training_set: TrainingSet | None = None
        self._looks: Tensor = torch.zeros(0, dtype=torch.uint8)

    def received(self, ids: Tensor | None, dataset: Any) -> None:
        """The script received a batch of these positions of ``dataset``, if they are known."""
        self._batch, self._seen = (ids, dataset), False

    def belongs_in(self, directory: str) -> None:
        """See ``accelerated.Training``; what the command line says goes before it."""
        self._out = self._out or Path(directory)

    def waiting(self) -> bool:
        """See ``mixing.Mixing``."""
        return not self._seen

    def diffused(self, samples: Tensor, noise: Tensor, timesteps: Callable[[], Tensor]) -> None:
        """See ``diffusing.Diffusion``."""
        self._seen = True
        self._carefully(lambda: self._diffused(samples, noise, timesteps()))

    def stepped(self, step_size: float) -> None:
        """See ``accelerated.Training``.

        Raises:
            InputError: If batches were loaded, but nothing was seen that the recorder understands.
        """
        if self.log is not None:
            log = self.log
            self._carefully(lambda: self._write(log, step_size))
        elif self._batch[1] is not None:
            raise InputError(
                "retrac record: the script took a step, but was not seen to diffuse anything. "
                "Expected add_noise of a scheduler of diffusers, or flow matching as in diffusers' "
                "SD3, Flux and Sana scripts; in a loop of your own, use retrac.Recorder"
            )
        self._pending.clear()
        self.step += 1

    def saved(self, directory: str) -> None:
        """See ``accelerated.Training``."""
        named = STEP_IN_NAME.search(Path(directory).as_posix())
        if named and int(named[1]) != self.step:
            warnings.warn(
                f"retrac: {directory!r} is saved after {self.step} steps by the optimiser's count: "
                "its recorded visits cannot be told apart by the number in its name",
                stacklevel=2,
            )
        if self.log is not None:
            log = self.log
            self._carefully(lambda: log.checkpoint(self.step))

    def model_saved(self, directory: str) -> None:
        """See ``diffusing.Diffusion``; a pipeline that is saved now and then is no checkpoint."""
        if STEP_IN_NAME.search(Path(directory).as_posix()):
            self.saved(directory)

    def resumed(self, directory: str) -> None:
        """See ``accelerated.Training``.

        Raises:
            InputError: If the folder's name does not tell the step.
        """
        named = STEP_IN_NAME.search(Path(directory).name)
        if named is None:
            raise InputError(
                f"retrac record: cannot tell after how many steps {directory!r} was saved: "
                "expected a folder named checkpoint-STEP"
            )
        self._carefully(self._check_not_begun)
        self.step = self.start = int(named[1])

    def close(self) -> None:
        """The training is over."""
        if self.log is not None:
            self.log.close()

    def _carefully(self, note: Callable[[], None]) -> None:
        if self.stopped:
            return
        try:
            note()
        except Exception as error:  # whatever it is, it is no reason to end a training
            if self.log is None:
                raise
            self.stopped = True
            warnings.warn(
                f"retrac: recording stopped after {self.step} steps, the training goes on: {error}",
                stacklevel=2,
            )

    def _check_not_begun(self) -> None:
        if self.log is not None:
            raise InputError("a checkpoint was loaded in the middle of the training")

    def _diffused(self, samples: Tensor, noise: Tensor, timesteps: Tensor) -> None:
        positions, dataset = self._batch
        if positions is None:
            raise InputError(
                "retrac record: noise was added to samples of unknown positions. Expected batches "
                "of a torch DataLoader over a map-style dataset; a stream has no positions"
            )
        positions = positions.cpu()
        training_set = self._samples_of(dataset, rows_of_each(positions, len(samples)))
        ids = training_set.rows(positions)
        if self.log is None:
            self.log = self._open(training_set)
        given = {"noise": noise, "samples": samples}
        # Copies: the script may go on to change its tensors in place.
        tensors = {what: given[what].detach().to("cpu", copy=True) for what in self.keep}
        timesteps = timesteps.detach().cpu().expand(len(ids)).clone()
        self._pending.append(Visits(ids, timesteps, self._keys(ids, samples), tensors))

    def _samples_of(self, dataset: Any, kinds: int) -> TrainingSet:
        known = self._training_set
        if known is not None and known.dataset is dataset and known.kinds == kinds:
            return known
        found = TrainingSet(dataset, kinds)
        if known is not None and (known.size, known.names) != (found.size, found.names):
            raise InputError(
                f"retrac record: training went from a set of {known.size} samples to one of "
                f"{found.size}: expected one training set"
            )
        self._training_set = found
        self._looks = torch.zeros(found.size, dtype=torch.uint8) if known is None else self._looks
        return found

    def _write(self, log: VisitLog, step_size: float) -> None:
        log.follow(self.step)
        for visits in self._pending:
            log.append(visits, self.step, step_size)

    def _open(self, training_set: TrainingSet) -> VisitLog:
        if self._out is None:
            raise InputError(
                "retrac record: the script does not say where its run goes (--output_dir, or the "
                "project_dir of its Accelerator): pass --out"
            )
        process, processes = this_process()
        noise, started = "kept" if self.keep else "anew", time.time()
        size, names = training_set.size, training_set.names
        origin = Origin(size, noise, 0, self.start, started, process, processes, self.start, FIRST)
        return VisitLog(self._out, origin, self.keep, {"names": names, "command": self.command})

    def _keys(self, ids: Tensor, samples: Tensor) -> Tensor:
        """Hash samples on their first visits; those in half precision are not the dataset's."""
        keys = torch.zeros(len(ids), dtype=torch.int64)
        if samples.dtype not in (torch.float32, torch.float64):
            return keys
        rows = (self._looks[ids] < HASHED_LOOKS).nonzero().squeeze(1)
        if len(rows):
            looked_at = samples.detach()[rows.to(samples.device)].cpu()
            keys[rows] = torch.tensor([content_key(sample) for sample in looked_at])
            self._looks[ids[rows]] += 1
        return keys
