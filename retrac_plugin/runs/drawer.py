"""Whatever draws pictures as a run's model does."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

UNKNOWN = "whatever read this run brings nothing that draws"
"""Why there is no drawer, where its reader does not say."""


class Drawer(Protocol):
    """The run's own pipeline, which is loaded when it draws for the first time."""

    @property
    def takes_prompts(self) -> bool:
        """Whether it is told what to draw."""

    def draw(self, prompt: str | None, seed: int, steps: int, device: torch.device) -> Tensor:
        """Return a picture ``[channel, height, width]`` in [-1, 1], on the CPU.

        Args:
            prompt: What to draw; None where it takes no prompt.
            seed: Of the noise that it starts from, and of what is drawn on the way.
            steps: How often it is denoised.
            device: Where to compute.

        Raises:
            InputError: If the pipeline cannot be loaded, or does not draw.
        """
