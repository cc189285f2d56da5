"""Records a person's own training loop, so that attribution can replay it exactly."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.files import write_atomically
from retrac_plugin.randomness import SCHEME, normal
from retrac_plugin.recording.contents import noted_content
from retrac_plugin.recording.processes import this_process
from retrac_plugin.trace.likeness import NUMBERS, likeness
from retrac_plugin.trace.parts import CHANGING, COLUMNS, FIRST, FORMAT, HASHED_LOOKS, part_name
from retrac_plugin.trace.trace import visit_key


class Recorder:
    """Draws the training noise and remembers who was trained with what.

    Three lines in a training loop::

        recorder = Recorder(num_samples=len(dataset), seed=0)
        ...
            noise = recorder.draw(ids, timesteps, images, step_size=lr)  # not torch.randn_like
        ...
            recorder.save(checkpoint_directory)

    Where several processes train, each has its own recorder and calls ``save``: their traces are
    joined when they are read.

    Args:
        num_samples: Size of the training set.
        seed: Noise is a function of (seed, sample id, number of the draw).
        step: Training steps already done, when a run is resumed.
    """

    def __init__(self, num_samples: int, seed: int = 0, step: int = 0) -> None:
        if num_samples < 1:
            raise InputError(f"Recorder: num_samples must be at least 1, got {num_samples}")
        self.num_samples, self.seed, self.step = num_samples, seed, step
        self._start, self._started, self._saved = step, time.time(), FIRST
        self._batches = 0
        self._keys = torch.zeros(num_samples, dtype=torch.int64)
        self._hashed = torch.zeros(num_samples, dtype=torch.int64)
        self._likenesses = torch.full((num_samples, NUMBERS + 1), torch.nan)
        self._forget()

    def draw(
        self,
        ids: Sequence[int] | Tensor,
        timesteps: Tensor,
        samples: Tensor,
        step_size: float,
        step: int | None = None,
    ) -> Tensor:
        """Return the noise for one batch, shaped as ``samples``, and record the visit.

        Args:
            ids: Index of each sample in the training set.
            timesteps: Timestep of each sample, a whole number: its position in the schedule. For
                flow matching that is the index into ``scheduler.timesteps``, not what is found
                there.
            samples: The clean samples ``[sample, ...]``.
            step_size: The learning rate of this step.
            step: The training step, from 0; by default each call is the next one. Needed under
                gradient accumulation, where several calls make one step.

        Raises:
            InputError: If the lengths differ, an id is outside the training set, or timesteps are
                no whole numbers.
        """
        ids = torch.as_tensor(ids, dtype=torch.int64).cpu()
        timesteps = timesteps.detach().cpu()  # once: each look at a device's values waits for it
        self._check(ids, timesteps, samples)
        self.step = self.step if step is None else step
        self._remember_content(ids, samples)
        count, draw = len(ids), self._next_draw()
        self._columns["ids"].append(ids)
        self._columns["timesteps"].append(timesteps.to(torch.int64))
        self._columns["steps"].append(torch.full((count,), self.step))
        self._columns["draws"].append(torch.full((count,), draw))
        self._columns["step_sizes"].append(torch.full((count,), step_size, dtype=torch.float64))
        self.step += 1
        keys = [visit_key(self.seed, sample_id, draw) for sample_id in ids.tolist()]
        return normal(keys, samples.shape[1:]).to(samples.device, samples.dtype)

    def save(self, directory: str | Path) -> Path:
        """Write the visits since the last call beside a checkpoint, and return the file's path."""
        process, processes = this_process()
        path = Path(directory) / part_name(process)
        columns = {name: torch.cat(parts) for name, parts in self._columns.items() if parts}
        if not columns:
            raise InputError("nothing to save: no batch was drawn since the last checkpoint")
        about = {
            "format": FORMAT,
            "scheme": SCHEME,
            "seed": self.seed,
            "step": self.step,
            "after": self._saved,
            "start": self._start,
            "started": self._started,
            "process": process,
            "processes": processes,
        }
        metadata = {"retrac": json.dumps(about)}
        tensors = {**columns, "keys": self._keys, "likenesses": self._likenesses}
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))
        self._saved = self.step
        self._forget()
        return path

    def _next_draw(self) -> int:
        """Return a number that no batch of the run had: not in this process, another, or before.

        A launch that does the same steps again gets the same numbers, and so the same noise.
        """
        process, processes = this_process()
        self._batches += 1
        return (self._start << 32) + (self._batches - 1) * processes + process

    def _forget(self) -> None:
        self._columns: dict[str, list[Tensor]] = {name: [] for name in COLUMNS}

    def _check(self, ids: Tensor, timesteps: Tensor, samples: Tensor) -> None:
        if not len(ids) == len(timesteps) == len(samples):
            raise InputError(
                f"Recorder: got {len(ids)} ids, {len(timesteps)} timesteps and {len(samples)} "
                "samples, expected one of each per sample"
            )
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= self.num_samples):
            raise InputError(
                f"Recorder: sample ids must lie in [0, {self.num_samples}), "
                f"got {int(ids.min())}..{int(ids.max())}"
            )
        if timesteps.is_floating_point() or timesteps.is_complex() or len(timesteps.shape) != 1:
            raise InputError(
                f"Recorder: expected timesteps [sample] of whole numbers, got {timesteps.dtype} "
                f"{list(timesteps.shape)}. A timestep is recorded by its position in the schedule: "
                "in flow matching pass the indices, of which scheduler.timesteps[indices] is what "
                "the network is told; where the schedule counts 0, 1, 2, ..., timesteps.long()"
            )
        if len(timesteps) and int(timesteps.min()) < 0:
            raise InputError(f"Recorder: timesteps count from 0, got {int(timesteps.min())}")

    def _remember_content(self, ids: Tensor, samples: Tensor) -> None:
        """Hash a sample on its first visits; one that changes between them is marked so."""
        if bool((self._hashed[ids] < HASHED_LOOKS).any()):
            samples = samples.detach().cpu()  # once, not sample by sample
        for sample_id, sample in zip(ids.tolist(), samples, strict=True):
            visits = int(self._hashed[sample_id])
            if visits >= HASHED_LOOKS:
                continue
            if visits == 0:
                self._likenesses[sample_id] = likeness(sample)
            key = noted_content(sample)
            same = visits == 0 or int(self._keys[sample_id]) == key
            self._keys[sample_id] = key if same else CHANGING
            self._hashed[sample_id] += 1
