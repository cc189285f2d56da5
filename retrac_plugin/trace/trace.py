"""What training did: which sample was seen at which timestep, with which noise, when.

The recorder's noise is not stored but rebuilt: a visit's noise is a function of (seed, sample id,
visit's draw). A recorded script draws its own, so there the noise that attribution needs is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.randomness import normal
from retrac_plugin.trace.kept_rows import KeptRows
from retrac_plugin.trace.launches import surviving
from retrac_plugin.trace.merging import check_together, join_columns, join_keys, join_rows
from retrac_plugin.trace.part_files import find_parts, read_part
from retrac_plugin.trace.parts import CHANGING, COLUMNS, FORMAT, TRACE_FILE, UNKNOWN, Part

__all__ = [
    "CHANGING",
    "COLUMNS",
    "FORMAT",
    "TRACE_FILE",
    "UNKNOWN",
    "Trace",
    "is_recorded",
    "read_trace",
    "visit_key",
]


@dataclass(frozen=True, eq=False)
class Trace:
    """The visits of a training run, oldest first.

    Attributes:
        ids: Sample of each visit, ``[visit]``.
        timesteps: Its timestep, ``[visit]``.
        steps: Its training step, counted from 0, ``[visit]``.
        draws: The counter its noise was drawn with, ``[visit]``.
        step_sizes: Learning rate of its step, ``[visit]``, float64.
        keys: Content key of each sample, ``[sample]``; ``UNKNOWN``, or ``CHANGING`` (augmented).
        seed: Seed of the noise that is not kept.
        noise_origin: ``"rebuilt"`` from the seed, ``"kept"``, or ``"anew"``: training's own noise
            is not known, and other noise is drawn by the seed.
        kept: ``noise`` and ``samples`` of visits, where they were kept.
        names: File names of the samples, where they are known.
        command: The script that was recorded last, and its arguments.
    """

    ids: Tensor = field(repr=False)
    timesteps: Tensor = field(repr=False)
    steps: Tensor = field(repr=False)
    draws: Tensor = field(repr=False)
    step_sizes: Tensor = field(repr=False)
    keys: Tensor = field(repr=False)
    seed: int
    noise_origin: str = "rebuilt"
    kept: Mapping[str, KeptRows] = field(default_factory=dict, repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    command: tuple[str, ...] = ()

    @property
    def num_samples(self) -> int:
        """Number of samples in the training set."""
        return self.keys.shape[0]

    @property
    def noise_is_new(self) -> bool:
        """Whether the noise is not training's own: the timesteps alone were recorded."""
        return self.noise_origin == "anew"

    @property
    def keeps_samples(self) -> bool:
        """Whether the samples were kept as training saw them."""
        return "samples" in self.kept

    @property
    def samples_change(self) -> bool:
        """Whether samples were seen to differ from visit to visit."""
        return bool((self.keys == CHANGING).any())

    @property
    def num_seen_once(self) -> int:
        """How many samples may have differed from visit to visit, since they were seen once."""
        return int((self.keys == UNKNOWN).sum())

    @cached_property
    def num_steps(self) -> int:
        """Training steps that were recorded."""
        return int(self.steps.max()) + 1

    def noise(self, visits: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the noise ``[visit, *shape]`` of some visits, float32; see ``noise_origin``.

        Raises:
            TraceError: If it should have been kept for one of them, but was not.
        """
        if "noise" in self.kept:
            return self.kept["noise"].read(visits, shape)
        keys = zip(self.ids[visits].tolist(), self.draws[visits].tolist(), strict=True)
        return normal([visit_key(self.seed, sample_id, draw) for sample_id, draw in keys], shape)

    def samples(self, visits: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the clean samples ``[visit, *shape]`` as training saw them: augmented, or latents.

        Raises:
            TraceError: If they were not kept.
        """
        if not self.keeps_samples:
            raise TraceError(
                "the samples were not kept: record with `retrac record --keep samples`"
            )
        return self.kept["samples"].read(visits, shape)

    def last_visits(self, ids: Sequence[int], step: int) -> Tensor:
        """Return each sample's last visit before the checkpoint saved after ``step`` steps.

        Raises:
            TraceError: If a sample was not visited by then, or the checkpoint is of another run.
        """
        visits = self.latest(step)[torch.as_tensor(ids)]
        missing = [i for i, visit in zip(ids, visits.tolist(), strict=True) if visit < 0]
        if missing:
            raise TraceError(
                f"sample {missing[0]} is missing from the trace: no visit before step {step} "
                f"(and {len(missing) - 1} more of this batch). Use checkpoints saved after a whole "
                "epoch, or train_draws=Uniform(1)"
            )
        return visits

    def check_dataset(self, size: int, ids: Sequence[int], keys: Sequence[int]) -> None:
        """Refuse a dataset that is not the recorded one.

        Raises:
            TraceError: If its size, or the content of one of these samples, differs.
        """
        if size != self.num_samples:
            raise TraceError(
                f"the training set has {size} samples, the trace {self.num_samples}: "
                "pass the dataset that the run was trained on, whole and in the same order"
            )
        for sample_id, key, recorded in zip(ids, keys, self.keys[list(ids)].tolist(), strict=True):
            if recorded not in (UNKNOWN, CHANGING, key):
                raise TraceError(
                    f"sample {sample_id} is not the one that training saw (its content hash "
                    "differs from the trace's): the dataset was changed or put in another order"
                )

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse files that are not the recorded ones in their order, where names were recorded.

        Raises:
            TraceError: If one of them has another name.
        """
        if not self.names or len(names) != len(self.names):  # the size is checked with the samples
            return
        for sample_id, (name, recorded) in enumerate(zip(names, self.names, strict=True)):
            path = PurePath(name)
            if path.suffix and path.name != PurePath(recorded).name:  # rows of a file have numbers
                raise TraceError(
                    f"sample {sample_id} is {name!r}, but training saw {recorded!r} in its place: "
                    "pass the folders that the run was trained on, unchanged"
                )

    def step_size_between(self, start: int, stop: int) -> float:
        """Return learning rate times visits per sample over the steps ``[start, stop)``."""
        inside = (self.steps >= start) & (self.steps < stop)
        return float(self.step_sizes[inside].sum()) / self.num_samples

    @cached_property
    def _cache(self) -> dict[int, Tensor]:
        return {}

    def latest(self, step: int) -> Tensor:
        """Return every sample's last visit before a step, ``[sample]``; -1 where it has none.

        Raises:
            TraceError: If that is later than what was recorded.
        """
        if step > self.num_steps:
            raise TraceError(
                f"the checkpoint of step {step} is later than what was recorded "
                f"({self.num_steps} steps): leave it out, it is of another run or of a stretch "
                "that was done again after a resume"
            )
        if step not in self._cache:
            before = torch.nonzero(self.steps < step).squeeze(1)
            last = torch.full((self.num_samples,), -1)
            last.scatter_reduce_(0, self.ids[before], before, "amax")
            self._cache[step] = last
        return self._cache[step]


def visit_key(seed: int, sample_id: int, draw: int) -> tuple[int, ...]:
    """Return the key of a visit's noise."""
    return (seed, 0, sample_id, draw)


def is_recorded(directory: str | Path) -> bool:
    """Return whether a run holds a trace."""
    return bool(find_parts(Path(directory)))


def read_trace(directory: str | Path) -> Trace:
    """Read the trace of a run from the parts in it, whichever processes and launches left them.

    Args:
        directory: The run; parts are looked for in it and in its subfolders.

    Raises:
        TraceError: If there is none, or its parts do not belong together.
    """
    parts = [read_part(path) for path in find_parts(Path(directory))]
    if not parts:
        raise TraceError(f"no {TRACE_FILE} in {str(directory)!r}: the run was not recorded")
    check_together(parts, directory)
    return _trace_of(surviving(parts))


def _trace_of(parts: Sequence[Part]) -> Trace:
    columns, order = join_columns(parts)
    origin = parts[0].origin
    return Trace(
        **{name: columns[name] for name in COLUMNS},
        keys=join_keys([part.looks for part in parts], origin.num_samples),
        seed=origin.seed,
        noise_origin=origin.noise,
        kept=join_rows(parts, order),
        names=parts[0].names,
        command=parts[-1].command,
    )
