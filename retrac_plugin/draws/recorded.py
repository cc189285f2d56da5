"""The timesteps and noise that training recorded."""

from __future__ import annotations

from dataclasses import dataclass

from retrac_plugin.draws.draw import Draw, Request
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
        self.trace.check_dataset(request.dataset_size, request.ids, request.keys)
        visits = self.trace.last_visits(request.ids, request.step)
        noise = self.trace.noise(visits, request.shape)
        kept = self.trace.keeps_samples
        samples = self.trace.samples(visits, request.shape)[:, None] if kept else None
        return Draw(self.trace.timesteps[visits][:, None], noise[:, None, None], samples)
