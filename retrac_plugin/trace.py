"""What training did: which sample was seen at which timestep, with which noise, when.

Noise is not stored but rebuilt: a visit's noise is a function of (seed, sample id, visit's draw).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.randomness import SCHEME, normal

TRACE_FILE = "retrac_trace.safetensors"
"""Name of the trace beside each checkpoint; it holds the visits since the checkpoint before."""

FORMAT = 1
UNKNOWN, CHANGING = 0, -1
"""Content keys of a sample that was not seen, and of one that was not the same at every visit."""

COLUMNS = ("ids", "timesteps", "steps", "draws", "step_sizes")


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
        seed: Seed of the noise.
    """

    ids: Tensor
    timesteps: Tensor
    steps: Tensor
    draws: Tensor
    step_sizes: Tensor
    keys: Tensor
    seed: int

    @property
    def num_samples(self) -> int:
        """Number of samples in the training set."""
        return self.keys.shape[0]

    def noise(self, visits: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the noise ``[visit, *shape]`` of some visits, as in training, float32."""
        keys = zip(self.ids[visits].tolist(), self.draws[visits].tolist(), strict=True)
        return normal([visit_key(self.seed, sample_id, draw) for sample_id, draw in keys], shape)

    def last_visits(self, ids: Sequence[int], step: int) -> Tensor:
        """Return each sample's last visit before the checkpoint saved after ``step`` steps.

        Raises:
            TraceError: If a sample was not visited by then.
        """
        visits = self._last_visits(step)[torch.as_tensor(ids)]
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

    def step_size_between(self, start: int, stop: int) -> float:
        """Return learning rate times visits per sample over the steps ``[start, stop)``."""
        inside = (self.steps >= start) & (self.steps < stop)
        return float(self.step_sizes[inside].sum()) / self.num_samples

    @cached_property
    def _cache(self) -> dict[int, Tensor]:
        return {}

    def _last_visits(self, step: int) -> Tensor:
        if step not in self._cache:
            before = torch.nonzero(self.steps < step).squeeze(1)
            last = torch.full((self.num_samples,), -1)
            last.scatter_reduce_(0, self.ids[before], before, "amax")
            self._cache[step] = last
        return self._cache[step]


def visit_key(seed: int, sample_id: int, draw: int) -> tuple[int, ...]:
    """Return the key of a visit's noise."""
    return (seed, 0, sample_id, draw)


def read_trace(directory: str | Path) -> Trace:
    """Read the trace of a run from the parts beside its checkpoints.

    Args:
        directory: The run; parts are looked for in it and in its subfolders.

    Raises:
        TraceError: If there is none, or its parts do not belong together.
    """
    parts = [_read_part(path) for path in sorted(Path(directory).rglob(TRACE_FILE))]
    if not parts:
        raise TraceError(f"no {TRACE_FILE} in {str(directory)!r}: the run was not recorded")
    parts.sort(key=lambda part: int(part[1]["step"]))
    (first, about) = parts[0]
    for columns, other in parts[1:]:
        if other["seed"] != about["seed"] or columns["keys"].shape != first["keys"].shape:
            raise TraceError(
                f"the traces in {str(directory)!r} are of different runs: keep one run"
            )
    whole = {name: torch.cat([columns[name] for columns, _ in parts]) for name in COLUMNS}
    keys = _merge_keys(torch.stack([columns["keys"] for columns, _ in parts]))
    return Trace(**whole, keys=keys, seed=int(about["seed"]))


def _merge_keys(keys: Tensor) -> Tensor:
    """Return each sample's key from all parts ``[part, sample]``: a resumed run starts anew."""
    highest = keys.amax(0)
    same = ((keys == UNKNOWN) | (keys == highest)).all(0)
    return torch.where(same, highest, CHANGING)


def _read_part(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("retrac", "{}"))
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise TraceError(f"cannot read the trace {str(path)!r}: {error}") from error
    wanted = {*COLUMNS, "keys"}
    if about.get("format") != FORMAT or about.get("scheme") != SCHEME or set(columns) != wanted:
        raise TraceError(
            f"{str(path)!r} was written by another version: expected format {FORMAT} with noise "
            f"{SCHEME!r}, got {about.get('format')} with {about.get('scheme')!r}"
        )
    return columns, about
