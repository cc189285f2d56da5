"""Timesteps and noise that the caller gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from retrac_plugin.draws.draw import Draw, Request
from retrac_plugin.errors import InputError


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
