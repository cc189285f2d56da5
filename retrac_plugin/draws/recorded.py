"""The timesteps and noise that training recorded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from retrac_plugin.draws.draw import Draw, Request
from retrac_plugin.trace.matching import check_kept
from retrac_plugin.trace.trace import Trace


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
        self.trace.check_dataset(request.dataset_size, request.ids, request.keys, request.encoded)
        visits = self.trace.last_visits(request.ids, request.step)
        noise = self.trace.noise(visits, request.shape)
        return Draw(
            self.trace.timesteps[visits][:, None],
            noise[:, None, None],
            self._kept_samples(request, visits),
        )

    def _kept_samples(self, request: Request, visits: Tensor) -> Tensor | None:
        if not self.trace.keeps_samples:
            return None
        samples = self.trace.samples(visits, request.shape)
        if request.encoded is not None:
            check_kept(request.ids, request.encoded, samples, self.trace.keys)
        return samples[:, None]
