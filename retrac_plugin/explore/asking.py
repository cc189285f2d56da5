"""A picture that was brought becomes a page, and nothing of it is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.errors import InputError

Answer = Callable[[FileExamples], str]
"""``pictures -> page``, HTML that needs no other file."""

Read = Callable[[Path, str | None, Path], FileExamples]
"""``(file, prompt, folder for what is encoded) -> pictures``."""


@dataclass(frozen=True)
class Explorer:
    """Answers for one picture at a time.

    Attributes:
        read: Reads pictures as the run's model takes them.
        answer: Makes the page of some pictures.
        takes_prompts: Whether the model is told what a picture shows.
    """

    read: Read
    answer: Answer
    takes_prompts: bool

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
        told = prompt.strip() if self.takes_prompts else None
        with tempfile.TemporaryDirectory(prefix="retrac-explore-") as folder:
            own = Path(folder) / Path(picture).name
            shutil.copyfile(picture, own)
            pictures = self.read(own, told, Path(folder) / "encoded")
            pictures.prepare(progress=False)
            return self.answer(pictures)
