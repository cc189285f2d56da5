"""A picture that was brought becomes a page, and nothing of it is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.errors import InputError
from retrac_plugin.report.images import pixels, png

MOST_STEPS = 1000
"""Denoising steps of a picture: more say no more, and keep the machine from answering."""

Answer = Callable[[FileExamples], str]
"""``pictures -> page``, HTML that needs no other file."""

Read = Callable[[Path, str | None, Path], FileExamples]
"""``(file, prompt, folder for what is encoded) -> pictures``."""


Draw = Callable[[str | None, int, int], Tensor]
"""``(prompt, seed, steps) -> picture [channel, height, width]`` in [-1, 1]."""


@dataclass(frozen=True)
class Explorer:
    """Answers for one picture at a time.

    Attributes:
        read: Reads pictures as the run's model takes them.
        answer: Makes the page of some pictures.
        takes_prompts: Whether the model is told what a picture shows.
        draw: Draws a picture; or, as a sentence, why nothing does.
    """

    read: Read
    answer: Answer
    takes_prompts: bool
    draw: Draw | str = "the run has no pipeline"

    def ask(self, picture: str | Path | None, prompt: str = "") -> str:
        """Return the page of one picture.

        Args:
            picture: Its file, which is copied and not changed.
            prompt: What it was generated from, where the model takes prompts.

        Raises:
            InputError: If there is no picture, or the prompt is missing or not taken.
            RetracError: If the picture cannot be read or attributed.
        """
        if picture is None:
            raise InputError("no picture: drop one, or choose a file")
        if self.takes_prompts and not prompt.strip():
            raise InputError("this model is told what a picture shows: give the prompt as well")
        return self._answered(Path(picture).name, partial(shutil.copyfile, picture), prompt)

    def ask_drawn(self, seed: int, steps: int, prompt: str = "") -> str:
        """Draw a picture, and return its page: as of a file with its pixels in whole numbers.

        Args:
            seed: Of what is drawn.
            steps: How often it is denoised.
            prompt: What to draw, where the model takes prompts.

        Raises:
            InputError: If nothing draws, a number is out of range, or the prompt is missing.
        """
        if isinstance(self.draw, str):
            raise InputError(f"no picture is drawn: {self.draw}")
        if self.takes_prompts and not prompt.strip():
            raise InputError("this model draws what it is told: give the prompt")
        if not (0 <= seed < 2**63 and 1 <= steps <= MOST_STEPS):
            raise InputError(
                f"expected a seed of 0 or more and 1 to {MOST_STEPS} steps, got {seed} and {steps}"
            )
        picture = self.draw(prompt.strip() if self.takes_prompts else None, seed, steps)
        drawn = png(pixels(picture, max(picture.shape)))
        name = f"seed {seed}, {steps} steps.png"
        return self._answered(name, lambda path: path.write_bytes(drawn), prompt)

    def _answered(self, name: str, put: Callable[[Path], object], prompt: str) -> str:
        """Return the page of a picture that ``put`` writes, of which nothing is left."""
        told = prompt.strip() if self.takes_prompts else None
        with tempfile.TemporaryDirectory(prefix="retrac-explore-") as folder:
            own = Path(folder) / name
            put(own)
            pictures = self.read(own, told, Path(folder) / "encoded")
            pictures.prepare(progress=False)
            return self.answer(pictures)
