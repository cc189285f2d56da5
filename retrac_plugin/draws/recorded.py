"""The timesteps and noise that training recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.draws.draw import Draw, Request, WeightedDraw
from retrac_plugin.trace.matching import check_kept
from retrac_plugin.trace.trace import Trace


@dataclass(frozen=True)
class Recorded:
    """The timestep and noise with which a sample was really trained, last before the checkpoint.

    Where training's samples were kept, they are taken in the place of the dataset's, which may have
    been augmented or encoded otherwise.

    Attributes:
        trace: What training recorded.
        steps: Those of the run's checkpoints, oldest first. Where they are given, a sample that was
            not visited between a checkpoint and the one before it has no influence there; without
            them its older visit stands for it, and a sample that was never visited is refused.
    """

    trace: Trace
    steps: tuple[int, ...] = ()

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return 1, 1

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``.

        Raises:
            TraceError: If the dataset is not the recorded one, or a sample was not visited.
        """
        self.trace.check_dataset(request.dataset_size, request.ids, request.keys, request.encoded)
        visits, weights = self._visits(request)
        noise = self.trace.noise(visits, request.shape)[:, None, None]
        samples = self._kept_samples(request, visits, weights)
        draw = Draw(self.trace.timesteps[visits][:, None], noise, samples)
        return draw if weights is None else WeightedDraw.of(draw, weights)

    def _kept_samples(
        self, request: Request, visits: Tensor, weights: Tensor | None
    ) -> Tensor | None:
        if not self.trace.keeps_samples:
            return None
        samples = self.trace.samples(visits, request.shape)
        if request.encoded is not None:
            own = slice(None) if weights is None else weights > 0  # others have another's visit
            ids = torch.as_tensor(request.ids)[own].tolist()
            check_kept(ids, request.encoded[own], samples[own], self.trace.keys)
        return samples[:, None]

    def _visits(self, request: Request) -> tuple[Tensor, Tensor | None]:
        """Return each sample's visit, and weights where some have none."""
        if request.step not in self.steps:
            return self.trace.last_visits(request.ids, request.step), None
        start = start_of(self.steps, request.step)
        latest = self.trace.latest(request.step)
        visits, last = latest[torch.as_tensor(request.ids)], latest.max()
        seen = (visits >= 0) & (self.trace.steps[visits] >= start)
        if seen.all() or self.trace.steps[last] < start:
            return self.trace.last_visits(request.ids, request.step), None
        # Any visit stands for the others: at weight 0, nothing depends on it.
        return torch.where(seen, visits, last), seen.to(torch.float64)


def start_of(steps: Sequence[int], step: int) -> int:
    """Return the step of the checkpoint before one, 0 for the first."""
    return max((earlier for earlier in steps if earlier < step), default=0)
