"""The two passes of one checkpoint: the queries' gradients, then the train set's products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from retrac_plugin.attribution.budget import saved_bytes
from retrac_plugin.attribution.gradient_rows import add_rows, check_finite
from retrac_plugin.attribution.noising import Noising
from retrac_plugin.attribution.rescaling import Rescaling
from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.data.examples import Block, ExampleSource, gathered
from retrac_plugin.draws import Draws
from retrac_plugin.gradients.engine import (
    EngineFactory,
    Features,
    GradientEngine,
    LossFunction,
    Parameters,
    Products,
)
from retrac_plugin.gradients.layout import row_dtype
from retrac_plugin.model.at_weights import LossesAt
from retrac_plugin.model.diffusion import DiffusionModel, NoisyBatch

Tick = Callable[[int], object]
"""Called with the number of samples done, for a progress bar."""

Zeros = Callable[..., Tensor]
"""Makes zeros of a shape."""

Projecting = Callable[[Iterable[NoisyBatch], int], Iterator[Features]]
"""``(batches, draws of a row) -> projected rows``, batch by batch and in order."""

GRADIENT_BYTES = 2**28
"""Roughly how much memory whole gradients may take at a time where only a block is needed."""


@dataclass
class CheckpointPass:
    """One checkpoint of a model, loaded, and how samples are led past it.

    Attributes:
        model: The diffusion model.
        checkpoint: The checkpoint.
        position: Its position in the series.
        make_engine: What computes gradients.
        device: Where.
        batch_size: Samples per network pass; the noise draws of a timestep always share one.
        tick: Progress.
    """

    model: DiffusionModel
    checkpoint: Checkpoint
    position: int
    make_engine: EngineFactory
    device: torch.device
    batch_size: int
    tick: Tick
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

    def query_gradients(
        self, source: ExampleSource, draws: Draws, rescalings: Sequence[Rescaling]
    ) -> Tensor:
        """Return ``[rescaling, query, width]``: ``1/T sum_t rescaled(1/S sum_s g(q, t, s))``."""
        return next(self.query_blocks(source, draws, rescalings, len(source)))

    def query_blocks(
        self,
        source: ExampleSource,
        draws: Draws,
        rescalings: Sequence[Rescaling],
        at_once: int,
        zeros: Zeros | None = None,
    ) -> Iterator[Tensor]:
        """Yield the same ``[rescaling, some queries, width]``, at most so many queries at a time.

        Args:
            source: The queries.
            draws: Their timesteps and noise.
            rescalings: What to do with norms.
            at_once: Queries at a time; each block overwrites the one before.
            zeros: Makes the matrix from its shape; default: in memory, on the device.
        """
        space: Tensor | None = None
        for blocks in gathered(source.blocks(min(self._block_size(draws), at_once)), at_once):
            count = sum(len(block.ids) for block in blocks)
            if space is None:
                space = (zeros or self._zeros)(len(rescalings) * at_once, self.engine.width)
            else:
                space.zero_()
            total = space[: len(rescalings) * count].view(len(rescalings), count, -1)
            start = 0
            for block in blocks:
                stop = start + len(block.ids)
                self.add_query_gradients(total[:, start:stop], block, source, draws, rescalings)
                start = stop
            yield total

    def add_query_gradients(
        self,
        total: Tensor,
        block: Block,
        source: ExampleSource,
        draws: Draws,
        rescalings: Sequence[Rescaling],
        side: str = "query",
    ) -> None:
        """Add one block's timestep-averaged gradients to ``total [rescaling, query, width]``."""
        timesteps_each, noise_each = draws.per_sample()
        draw = self._noising.draw(block, source, draws, side)
        num_rows = draw.timesteps.numel()
        at_once = max(1, min(self.batch_size // noise_each, self._gradients_at_once()))
        for start in range(0, num_rows, at_once):
            rows = torch.arange(start, min(start + at_once, num_rows))
            batch = self._noising.diffuse(block, draw, rows)
            losses, gradients = self._engine_of(side).gradients(batch, noise_each)
            norms = torch.linalg.vector_norm(gradients, dim=1)
            query = rows // timesteps_each
            self._check(side, losses, norms, [block.ids[q] for q in query], batch.timesteps)
            for part, rescale in zip(total, rescalings, strict=True):
                add_rows(part, query, gradients, rescale(norms) / timesteps_each)
        self.tick(len(block.ids))

    def train_products(
        self, source: ExampleSource, draws: Draws, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the train gradients' products ``[train, vector]`` and norms ``[train]``."""
        blocks = list(self.train_blocks(source, draws, vectors))
        return torch.cat([b.dots for b in blocks]), torch.cat([b.norms for b in blocks])

    def train_blocks(
        self, source: ExampleSource, draws: Draws, vectors: Tensor
    ) -> Iterator[Products]:
        """Yield the train gradients' products and norms, some samples at a time and in order."""
        timesteps_each, noise_each = draws.per_sample()
        seen: list[Tensor] = []

        def batches() -> Iterator[NoisyBatch]:
            for block in source.blocks(self._block_size(draws)):
                batch = self._noising.whole(block, source, draws)
                seen.append(batch.timesteps)
                yield batch

        losses, norms = [], []
        for products in self.engine.products(batches(), timesteps_each * noise_each, vectors):
            losses.append(products.losses)
            norms.append(products.norms)
            self.tick(len(products.norms))
            yield products
        # At the end, not in each block: looking at values makes the CPU wait for the device.
        self._check("train", torch.cat(losses), torch.cat(norms), source.ids, torch.cat(seen))

    def train_gradients(
        self, source: ExampleSource, draws: Draws
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, block by block, the whole train gradients ``[train, width]`` and their norms."""
        timesteps_each, noise_each = draws.per_sample()
        for block in source.blocks(min(self._block_size(draws), self._gradients_at_once())):
            batch = self._noising.whole(block, source, draws)
            losses, gradients = self.engine.gradients(batch, timesteps_each * noise_each)
            norms = torch.linalg.vector_norm(gradients, dim=1)
            self._check("train", losses, norms, block.ids, batch.timesteps)
            yield gradients, norms
            self.tick(len(block.ids))

    def features(
        self, source: ExampleSource, draws: Draws, side: str, draws_each: int, project: Projecting
    ) -> Iterator[Features]:
        """Yield, block by block, projected gradients of rows of so many draws each.

        Args:
            source: The samples; all draws of one share a network pass.
            draws: Their timesteps and noise.
            side: Whose draws they are, ``"train"`` or ``"query"``.
            draws_each: How many draws, side by side in time and noise, are averaged into a row.
            project: What projects; the engine's ``features`` with its projection.
        """
        seen: list[tuple[list[int], Tensor]] = []

        def batches() -> Iterator[NoisyBatch]:
            for block in source.blocks(self._block_size(draws)):
                batch = self._noising.whole(block, source, draws, side)
                seen.append((block.ids, batch.timesteps))
                yield batch

        for features in project(batches(), draws_each):
            ids, timesteps = seen.pop(0)
            rows_each = len(features.norms) // len(ids)
            of_rows = [i for i in ids for _ in range(rows_each)]
            self._check(side, features.losses, features.norms, of_rows, timesteps)
            yield features
            self.tick(len(ids))

    def own_products(
        self, source: ExampleSource, train_draws: Draws, query_draws: Draws, rescale: Rescaling
    ) -> tuple[Tensor, Tensor]:
        """Return each train gradient's product with its own query gradient, and its norm."""
        dots, norms = [], []
        size = min(self._block_size(train_draws), self._block_size(query_draws))
        size = min(size, self._gradients_at_once())
        for block in source.blocks(size):
            queries = self._zeros(1, len(block.ids), self.engine.width)
            self.add_query_gradients(queries, block, source, query_draws, [rescale])
            batch = self._noising.whole(block, source, train_draws)
            per_sample = batch.timesteps.shape[0] // len(block.ids)
            for products in self.engine.products([batch], per_sample, queries[0]):
                self._check("train", products.losses, products.norms, block.ids, batch.timesteps)
                dots.append(products.dots.diagonal())
                norms.append(products.norms)
        return torch.cat(dots), torch.cat(norms)

    def _scales(self) -> Parameters | None:
        """Return what the checkpoint's preconditioner multiplies gradients with, if it has one."""
        if self.checkpoint.preconditioner is None:
            return None
        roots = self.checkpoint.preconditioner()
        return {n: roots[n].to(like.device, like.dtype) for n, like in self.attributed.items()}

    def sample_bytes(self, source: ExampleSource, draws: Draws) -> int:
        """Return the bytes of activations that one sample takes, see ``budget.saved_bytes``."""
        batch = self._noising.whole(next(source.blocks(1)), source, draws)
        return saved_bytes(self.losses, self.attributed, batch) // len(batch.timesteps)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=self.dtype, device=self.device)

    def _gradients_at_once(self) -> int:
        """Return how many whole gradients may be there beside the queries'."""
        return max(1, GRADIENT_BYTES // (self.engine.width * self.dtype.itemsize))

    def _engine_of(self, side: str) -> GradientEngine:
        return self.engine if side == "train" else self._query_engine

    @cached_property
    def _query_engine(self) -> GradientEngine:
        other = self.checkpoint.on_query_side()
        return self.engine if other is self.checkpoint else replace(self, checkpoint=other).engine

    def _block_size(self, draws: Draws) -> int:
        timesteps_each, noise_each = draws.per_sample()
        return max(1, self.batch_size // (timesteps_each * noise_each))

    def _check(
        self, side: str, losses: Tensor, norms: Tensor, ids: Sequence[int], timesteps: Tensor
    ) -> None:
        where = f"{self.checkpoint.name} (position {self.position})"
        check_finite(side, losses, norms, ids, timesteps, where)
