"""What training did: which sample was seen at which timestep, with which noise, when.

The recorder's noise is not stored but rebuilt: a visit's noise is a function of (seed, sample id,
visit's draw). A recorded script draws its own, so there the noise that attribution needs is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.randomness import normal
from retrac_plugin.trace import matching
from retrac_plugin.trace.kept_rows import KeptRows
from retrac_plugin.trace.parts import CHANGING, ROUNDED, UNKNOWN


@dataclass(frozen=True, eq=False)
class Trace:
    """The visits of a training run, oldest first.

    Attributes:
        ids: Sample of each visit, ``[visit]``.
        timesteps: Its timestep, ``[visit]``.
        steps: Its training step, counted from 0, ``[visit]``.
        draws: The counter its noise was drawn with, ``[visit]``.
        step_sizes: Learning rate of its step, ``[visit]``, float64.
        keys: Content key of each sample, ``[sample]``; ``UNKNOWN``, ``CHANGING``
            (augmented) or ``ROUNDED`` (in half precision).
        seed: Seed of the noise that is not kept.
        noise_origin: ``"rebuilt"`` from the seed, ``"kept"``, or ``"anew"``: training's own noise
            is not known, and other noise is drawn by the seed.
        kept: ``noise`` and ``samples`` of visits, where they were kept.
        names: File names of the samples, where they are known.
        command: The script that was recorded last, and its arguments.
        likenesses: See ``trace.likeness``, ``[sample, number]``, where they were recorded.
        begun: Training steps done before the first that was recorded.
        replaced: Steps of checkpoints that are not of this way of training: after a resume their
            stretch was done again.
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
    likenesses: Tensor | None = field(default=None, repr=False)
    begun: int = 0
    replaced: frozenset[int] = frozenset()

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
    def samples_rounded(self) -> bool:
        """Whether samples were trained in half precision, the same at every visit."""
        return bool((self.keys == ROUNDED).any())

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

    def check_dataset(
        self,
        size: int,
        ids: Sequence[int],
        keys: Sequence[int],
        encoded: Tensor | None = None,
    ) -> None:
        """Refuse a dataset that is not the recorded one.

        Args:
            size: Its size.
            ids: Some of its samples.
            keys: Their content keys.
            encoded: The samples themselves, where a network computed them: their values decide
                then, and ``keys`` do not.

        Raises:
            TraceError: If its size, or the content of one of these samples, differs.
        """
        matching.check_size(size, self.num_samples)
        if encoded is None:
            matching.check_contents(ids, keys, self.keys)
        elif not self.keeps_samples:
            matching.check_encoded(ids, encoded, self.keys, self.likenesses)

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse files that are not the recorded ones in their order, where names were recorded.

        Raises:
            TraceError: If one of them has another name.
        """
        matching.check_names(names, self.names)

    def step_size_between(self, start: int, stop: int) -> float:
        """Return learning rate times visits per sample over the steps ``[start, stop)``.

        Raises:
            TraceError: If recording began in between.
        """
        if start < self.begun < stop:
            raise TraceError(
                f"the trace begins at step {self.begun}, within the stretch from step {start} to "
                f"the checkpoint of step {stop}: what was trained before is missing, so that its "
                f"step size is not known. Expected a checkpoint-{self.begun}, from which that "
                "training was resumed; or leave the checkpoint out"
            )
        inside = (self.steps >= start) & (self.steps < stop)
        return float(self.step_sizes[inside].sum()) / self.num_samples

    @cached_property
    def _cache(self) -> dict[int, Tensor]:
        return {}

    def latest(self, step: int) -> Tensor:
        """Return every sample's last visit before a step, ``[sample]``; -1 where it has none.

        Raises:
            TraceError: If that is later than what was recorded, or of another way of training.
        """
        if step in self.replaced:
            raise TraceError(
                f"the checkpoint of step {step} was saved in a stretch that was done again after a "
                "resume, and not saved again: its weights are of other visits than the trace's. "
                "Leave it out"
            )
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
