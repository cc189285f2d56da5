"""One checkpoint, and how samples are run through it: the one way to anything made of gradients."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from retrac_plugin.attribution.budget import saved_bytes
from retrac_plugin.attribution.finite import FiniteCheck
from retrac_plugin.attribution.keeping import NOTHING, Keeping
from retrac_plugin.attribution.noising import Noising
from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.data.examples import Block, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import (
    EngineFactory,
    GradientEngine,
    LossFunction,
    Parameters,
)
from retrac_plugin.gradients.layout import row_dtype
from retrac_plugin.model.at_weights import LossesAt
from retrac_plugin.model.diffusion import DiffusionModel, NoisyBatch

Tick = Callable[[int], object]
"""Called with the number of samples done, for a progress bar."""


def nothing(samples: int) -> None:
    """Tell nobody of what is done."""


GRADIENT_BYTES = 2**28
"""Roughly how much memory whole gradients may take at a time where only a block is needed."""


class Made(Protocol):
    """What an engine makes of the rows of a batch: products, or features."""

    @property
    def losses(self) -> Tensor:
        """``[row, draw]``."""

    @property
    def norms(self) -> Tensor:
        """``[row]``."""


Some = TypeVar("Some", bound=Made)

Making = Callable[[Iterable[NoisyBatch], int], Iterator[Some]]
"""``(batches, draws of a row) -> what is made of them``, batch by batch and in order."""


class Led(NamedTuple, Generic[Some]):
    """The rows of one batch, and what was made of them."""

    made: Some
    places: Tensor
    """``[row]``: which of the samples that were led each row is of, ascending."""


@dataclass
class CheckpointPass:
    """One checkpoint of a model, loaded.

    Attributes:
        model: The diffusion model.
        checkpoint: The checkpoint.
        position: Its position in the series.
        make_engine: What computes gradients.
        device: Where.
        batch_size: Samples per network pass; the noise draws of a timestep always share one.
        tick: Progress.
        keep: Keeps what is finished.
    """

    model: DiffusionModel
    checkpoint: Checkpoint
    position: int
    make_engine: EngineFactory
    device: torch.device
    batch_size: int
    tick: Tick
    keep: Keeping = NOTHING
    losses: LossFunction = field(init=False)
    attributed: Parameters = field(init=False)
    engine: GradientEngine = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        fixed = load_into(self.model.network, self.checkpoint, self.device)
        self.attributed = {name: fixed.pop(name) for name in self.model.attributed_names()}
        self.dtype = row_dtype(self.attributed)
        self._noising = Noising(self.model, self.checkpoint, self.position, self.device, self.dtype)
        self.losses = LossesAt(self.model, fixed)
        self.engine = self.make_engine(self.losses, self.attributed, self._scales())

    def lead(
        self,
        blocks: Iterable[Block],
        source: ExampleSource,
        draws: Draws,
        side: str,
        draws_each: int,
        make: Making[Some],
        rows_at_once: int | None = None,
    ) -> Iterator[Led[Some]]:
        """Lead samples past the network and yield, batch by batch, what is made of their rows.

        Args:
            blocks: The samples.
            source: Where they come from.
            draws: Their timesteps and noise.
            side: Whose draws they are, ``"train"`` or ``"query"``.
            draws_each: How many draws, side by side in time and noise, are averaged into a row.
            make: What becomes of the rows.
            rows_at_once: Rows of a batch, at most; default: those of a block.

        Raises:
            GradientError: At the end, if a loss or a norm is not finite.
        """
        check = FiniteCheck(side, f"{self.checkpoint.name} (position {self.position})")
        waiting: deque[_Batch] = deque()

        def batches() -> Iterator[NoisyBatch]:
            before = 0
            for block in blocks:
                for batch, owners in self._batches(block, source, draws, side, rows_at_once):
                    owners = owners[::draws_each]
                    ids = [block.ids[owner] for owner in owners.tolist()]
                    waiting.append(_Batch(ids, before + owners, batch.timesteps))
                    yield batch
                before += len(block.ids)

        done = 0
        for made in make(batches(), draws_each):
            of = waiting.popleft()
            check.note(of.ids, of.timesteps, made.losses, made.norms)
            yield Led(made, of.places)
            reached = int(of.places[-1]) + 1
            self.tick(reached - done)
            done = reached
        check.finish()

    def block_size(self, draws: Draws) -> int:
        """Return how many samples share a network pass with all their draws."""
        timesteps_each, noise_each = draws.per_sample()
        return max(1, self.batch_size // (timesteps_each * noise_each))

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that decides what is made of a sample and its draws, to the last bit."""
        make, device, size = self.make_engine, str(self.device), self.batch_size
        return self.model, self.checkpoint, self.position, make, device, size

    def gradients_at_once(self) -> int:
        """Return how many whole gradients may be there beside the queries'."""
        return max(1, GRADIENT_BYTES // (self.engine.width * self.dtype.itemsize))

    def engine_of(self, side: str) -> GradientEngine:
        """Return what computes the gradients of a side, whose weights may be others."""
        return self.engine if side == "train" else self._query_engine

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros in the network's type, where gradients are computed."""
        return torch.zeros(*shape, dtype=self.dtype, device=self.device)

    def sample_bytes(self, source: ExampleSource, draws: Draws) -> int:
        """Return the bytes of activations that one sample takes, see ``budget.saved_bytes``."""
        batches = self._batches(next(source.blocks(1)), source, draws, "train", None)
        batch, owners = next(batches)
        return saved_bytes(self.losses, self.attributed, batch) // len(owners)

    def _batches(
        self, block: Block, source: ExampleSource, draws: Draws, side: str, at_once: int | None
    ) -> Iterator[tuple[NoisyBatch, Tensor]]:
        """Yield the draws of some samples, at most so many timesteps' at once, and whose they are.

        Whose: places in the block, one for each draw.
        """
        timesteps_each, noise_each = draws.per_sample()
        draw = self._noising.draw(block, source, draws, side)
        count = draw.timesteps.numel()
        for start in range(0, count, at_once or count):
            rows = torch.arange(start, min(start + (at_once or count), count))
            owners = (rows // timesteps_each).repeat_interleave(noise_each)
            yield self._noising.diffuse(block, draw, rows), owners

    def _scales(self) -> Parameters | None:
        """Return what the checkpoint's preconditioner multiplies gradients with, if it has one."""
        if self.checkpoint.preconditioner is None:
            return None
        roots = self.checkpoint.preconditioner()
        return {n: roots[n].to(like.device, like.dtype) for n, like in self.attributed.items()}

    @cached_property
    def _query_engine(self) -> GradientEngine:
        other = self.checkpoint.on_query_side()
        return self.engine if other is self.checkpoint else replace(self, checkpoint=other).engine


class _Batch(NamedTuple):
    """A batch on its way through the network."""

    ids: list[int]
    """Of the sample of each row."""
    places: Tensor
    """``[row]``."""
    timesteps: Tensor
    """``[row * draw]``."""
