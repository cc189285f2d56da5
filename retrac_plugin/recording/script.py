"""What is seen of a training script, put together: which visits ended in which step."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from retrac_plugin.errors import InputError
from retrac_plugin.recording.arguments import check_supported, output_dir, without_secrets
from retrac_plugin.recording.batches import Batches, check_same
from retrac_plugin.recording.contents import Contents
from retrac_plugin.recording.continuing import check_goes_on, recorded_parts
from retrac_plugin.recording.identity import TrainingSet, rows_of_each
from retrac_plugin.recording.processes import this_process
from retrac_plugin.recording.trained import Trained
from retrac_plugin.recording.visit_log import VisitLog, Visits
from retrac_plugin.trace.parts import FIRST, Origin

LADDER = {"timesteps": (), "noise": ("noise",), "samples": ("noise", "samples")}
"""How much to keep of each sample's last visit before a checkpoint: each rung holds the last."""

STEP_IN_NAME = re.compile(r"checkpoint-(\d+)")


class ScriptRecording:
    """Records the training that a script does.

    A mistake that shows by the end of the first step ends the script, so that it can be put right.
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
        self._batches, self._trained = Batches(), Trained()
        self._diffusion: tuple[Tensor, Tensor, Tensor] | None = None
        self._pending: list[Visits] = []
        self._settled = False
        self._training_set: TrainingSet | None = None
        self._contents = Contents(0)

    def received(self, ids: Tensor | None, dataset: Any, loader: Any) -> None:
        """See ``loaders.Received``."""
        self._batches.received(ids, dataset, loader)
        self._diffusion = None
        self._settled = self.log is not None and self.step > self.start

    def belongs_in(self, directory: str) -> None:
        """See ``accelerated.Training``; what the command line says goes before it."""
        self._out = self._out or Path(directory)

    def waiting(self) -> bool:
        """See ``mixing.Mixing``."""
        return self._diffusion is None

    def diffused(self, samples: Tensor, noise: Tensor, timesteps: Callable[[], Tensor]) -> None:
        """See ``diffusing.Diffusion``."""
        self._carefully(lambda: self._diffused(samples, noise, timesteps()))

    def about_to_step(self, optimizer: Optimizer) -> None:
        """See ``accelerated.Training``.

        Raises:
            InputError: If batches were loaded, but nothing was seen that the recorder understands,
                or the optimiser trains what no reader can read.
        """
        self._carefully(lambda: self._check_step(optimizer))

    def stepped(self, step_size: float, optimizer: Optimizer) -> None:
        """See ``accelerated.Training``; other optimisers than the denoiser's count no step."""
        if not self._trained.counts(optimizer):
            return
        if self.log is not None:
            log = self.log
            self._carefully(lambda: self._write(log, step_size))
        self._pending.clear()
        self._diffusion = None
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
            if not self._settled:
                self._discard()
                raise
            self.stopped = True
            warnings.warn(
                f"retrac: recording stopped after {self.step} steps, the training goes on: {error}",
                stacklevel=2,
            )

    def _check_not_begun(self) -> None:
        if self.log is not None:
            raise InputError("a checkpoint was loaded in the middle of the training")

    def _check_step(self, optimizer: Optimizer) -> None:
        shape = None if self._diffusion is None else self._diffusion[0].shape[1:]
        self._trained.judge(optimizer, shape)
        if not self._trained.counts(optimizer):
            return
        if self.log is None and self._batches.any:
            raise InputError(
                "retrac record: the script took a step, but was not seen to diffuse anything. "
                "Expected add_noise of a scheduler of diffusers, or flow matching as in diffusers' "
                "SD3, Flux and Sana scripts; in a loop of your own, use retrac.Recorder"
            )
        self._trained.check_alone(optimizer, bool(self._pending))

    def _diffused(self, samples: Tensor, noise: Tensor, timesteps: Tensor) -> None:
        if self._diffusion is not None:
            check_same(self._diffusion, (samples, noise, timesteps))
            return
        positions, dataset = self._batches.take()
        training_set = self._samples_of(dataset, rows_of_each(positions, len(samples)))
        ids = training_set.rows(positions)
        keys = self._contents.of(ids, samples)
        if self.log is None:
            self.log = self._open(training_set, ids, keys)
        given = {"noise": noise, "samples": samples}
        # Copies: the script may go on to change its tensors in place.
        tensors = {what: given[what].detach().to("cpu", copy=True) for what in self.keep}
        self._diffusion = samples.detach(), noise.detach(), timesteps.detach()
        timesteps = timesteps.detach().cpu().expand(len(ids)).clone()
        self._pending.append(Visits(ids, timesteps, keys, tensors))

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
        self._contents = Contents(found.size) if known is None else self._contents
        return found

    def _write(self, log: VisitLog, step_size: float) -> None:
        log.follow(self.step)
        for visits in self._pending:
            log.append(visits, self.step, step_size)

    def _open(self, training_set: TrainingSet, ids: Tensor, keys: Tensor) -> VisitLog:
        if self._out is None:
            raise InputError(
                "retrac record: the script does not say where its run goes (--output_dir, or the "
                "project_dir of its Accelerator): pass --out"
            )
        process, processes = this_process()
        noise, started = "kept" if self.keep else "anew", time.time()
        size, names = training_set.size, training_set.names
        origin = Origin(size, noise, 0, self.start, started, process, processes, self.start, FIRST)
        check_goes_on(recorded_parts(self._out), origin, self.keep, names, ids, keys)
        return VisitLog(self._out, origin, self.keep, {"names": names, "command": self.command})

    def _discard(self) -> None:
        """Leave nothing of a recording that ends the script before it went on."""
        if self.log is not None:
            self.log.discard()
            self.log = None
