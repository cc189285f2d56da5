"""Which (timestep, noise) pairs a sample's gradient is taken at.

A sample has ``T`` timesteps with ``S`` noise draws each. On the query side the draws of a timestep
are averaged into one gradient, which Diffusion-ReTrac then normalises; on the train side all draws
of a sample are averaged into its one gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from retrac_plugin.distributions import TimestepDistribution, timesteps_at, uniform
from retrac_plugin.errors import InputError
from retrac_plugin.randomness import Key, normal, uniforms
from retrac_plugin.trace import Trace


class Draw(NamedTuple):
    """Timesteps and noise for a few samples."""

    timesteps: Tensor
    """``[sample, T]``, int64."""
    noise: Tensor
    """``[sample, T, S, *sample shape]``."""
    samples: Tensor | None = None
    """``[sample, T, *sample shape]``: the samples as they were at these draws, flipped or drawn by
    an autoencoder, where that was recorded; None for those of the dataset."""


class Request(NamedTuple):
    """The samples that timesteps and noise are wanted for."""

    ids: list[int]
    keys: list[int]
    shape: torch.Size
    """Shape of one sample."""
    side: str
    """``"train"`` or ``"query"``."""
    dataset_size: int
    checkpoint: int
    """Position of the checkpoint in its series."""
    step: int
    """Training step of the checkpoint; its position where none is known."""
    num_timesteps: int
    timestep_distribution: TimestepDistribution = uniform
    """From which distribution training draws its timesteps."""
    noise_offset: float = 0.0
    """Standard deviation of what training adds to a whole channel of the noise."""


class Draws(Protocol):
    """A rule that assigns timesteps and noise to samples."""

    def per_sample(self) -> tuple[int, int]:
        """Return ``(T, S)``."""

    def draw(self, request: Request) -> Draw:
        """Return the timesteps and the noise for the samples of ``request``."""


@dataclass(frozen=True)
class Strided:
    """Timesteps evenly spaced over the schedule: the middles of ``count`` equal stretches.

    Attributes:
        count: How many timesteps.
        noise_draws: How many noise draws at each.
        seed: Noise is a function of (seed, side, sample, checkpoint step, timestep, draw).
    """

    count: int = 10
    noise_draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, count=self.count, noise_draws=self.noise_draws)

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return self.count, self.noise_draws

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        if self.count > request.num_timesteps:
            raise InputError(
                f"Strided({self.count}) asks for more timesteps than the schedule has "
                f"({request.num_timesteps})"
            )
        middles = (2 * torch.arange(self.count) + 1) * request.num_timesteps // (2 * self.count)
        timesteps = middles.expand(len(request.ids), -1)
        return Draw(timesteps, _noise(request, timesteps, self.noise_draws, self.seed))


@dataclass(frozen=True)
class Uniform:
    """Timesteps drawn as training draws them, one noise draw each.

    Uniform in the objective's own measure: over the schedule, or, where the model was given another
    ``timestep_distribution``, by that.

    Attributes:
        count: How many timesteps a sample gets at each checkpoint.
        seed: Timesteps and noise are functions of (seed, side, sample, checkpoint step, draw).
    """

    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, count=self.count)

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return self.count, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        side = _SIDES[request.side]
        keys = [(self.seed, side, key, request.step) for key in request.keys]
        timesteps = timesteps_at(
            request.timestep_distribution, uniforms(keys, self.count), request.num_timesteps
        )
        return Draw(timesteps, _noise(request, timesteps, 1, self.seed))


@dataclass(frozen=True)
class Recorded:
    """The timestep and noise with which a sample was really trained, last before the checkpoint.

    Where training's samples were kept, they are taken in the place of the dataset's, which may have
    been augmented or encoded otherwise.

    Attributes:
        trace: What training recorded.
    """

    trace: Trace

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return 1, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``.

        Raises:
            TraceError: If the dataset is not the recorded one, or a sample was not visited.
        """
        self.trace.check_dataset(request.dataset_size, request.ids, request.keys)
        visits = self.trace.last_visits(request.ids, request.step)
        noise = self.trace.noise(visits, request.shape)
        kept = self.trace.keeps_samples
        samples = self.trace.samples(visits, request.shape)[:, None] if kept else None
        return Draw(self.trace.timesteps[visits][:, None], noise[:, None, None], samples)


@dataclass(frozen=True, eq=False)
class Given:
    """Explicit timesteps and noise, found by a sample's id.

    Attributes:
        timesteps: Query side ``[T]``; train side ``[checkpoint, train]``.
        noise: Query side ``[checkpoint, query, T, S, *sample]``; train side
            ``[checkpoint, train, *sample]``.
    """

    timesteps: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        where = slice(2, 3) if self._for_queries else slice(0, 2)
        agree = self.timesteps.dim() <= 2 and self.noise.shape[where] == self.timesteps.shape
        if not agree or self.noise.dim() < self._leading:
            raise InputError(
                "Given: expected timesteps [T] with noise [checkpoint, query, T, S, *sample], or "
                "timesteps [checkpoint, train] with noise [checkpoint, train, *sample], got "
                f"{list(self.timesteps.shape)} and {list(self.noise.shape)}"
            )

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return (self.noise.shape[2], self.noise.shape[3]) if self._for_queries else (1, 1)

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``.

        Raises:
            InputError: If a checkpoint, a sample or a sample's shape is not among those given.
        """
        self._check(request)
        noise = self.noise[request.checkpoint, request.ids]
        if self._for_queries:
            return Draw(self.timesteps.expand(len(request.ids), -1), noise)
        timesteps = self.timesteps[request.checkpoint, request.ids]
        return Draw(timesteps[:, None], noise[:, None, None])

    @property
    def _for_queries(self) -> bool:
        return self.timesteps.dim() == 1

    @property
    def _leading(self) -> int:
        """Dimensions of the noise before a sample's own."""
        return 4 if self._for_queries else 2

    def _check(self, request: Request) -> None:
        checkpoints, samples = self.noise.shape[:2]
        shape = self.noise.shape[self._leading :]
        if request.checkpoint >= checkpoints or max(request.ids) >= samples:
            raise InputError(
                f"Given: noise is given for {checkpoints} checkpoints and {samples} samples, but "
                f"checkpoint {request.checkpoint} and {request.side} sample {max(request.ids)} "
                "were asked for (both count from 0)"
            )
        if shape != request.shape:
            raise InputError(
                f"Given: the noise of one sample is shaped {tuple(shape)}, "
                f"the {request.side} samples {tuple(request.shape)}"
            )


def draw_within(draws: Draws, request: Request) -> Draw:
    """Return what ``draws`` draws for ``request``, its timesteps checked against the schedule.

    Raises:
        InputError: If a timestep lies outside the schedule.
    """
    draw = draws.draw(request)
    low, high = int(draw.timesteps.min()), int(draw.timesteps.max())
    if low < 0 or high >= request.num_timesteps:
        raise InputError(
            f"timestep {low if low < 0 else high} of the {request.side} side is outside the "
            f"schedule: expected 0 to {request.num_timesteps - 1}"
        )
    return draw


_SIDES = {"train": 1, "query": 2}
_OFFSET = 1


def _noise(request: Request, timesteps: Tensor, draws: int, seed: int) -> Tensor:
    """Return noise ``[sample, T, S, *shape]``; draws at equal timesteps still differ."""
    side = _SIDES[request.side]
    keys = [
        (seed, side, key, request.step, int(t), position, draw)
        for key, row in zip(request.keys, timesteps, strict=True)
        for position, t in enumerate(row)
        for draw in range(draws)
    ]
    noise = normal(keys, request.shape)
    if request.noise_offset:
        noise = noise + request.noise_offset * _channel_noise(keys, request.shape)
    return noise.reshape(*timesteps.shape, draws, *request.shape)


def _channel_noise(keys: Sequence[Key], shape: torch.Size) -> Tensor:
    """Return one number a channel ``[key, C, 1, ...]``, of other draws than the noise itself."""
    own = [(*key, _OFFSET) for key in keys]
    return normal(own, (*shape[:1], *(1 for _ in shape[1:])))


def _positive(owner: object, **values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{type(owner).__name__}: {name} must be at least 1, got {value}")
