"""Some of many examples, such as those on a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from retrac_plugin.data.image_files import FileExamples


class Listed(FileExamples):
    """Some examples out of others, read when they are asked for.

    Args:
        examples: The others.
        positions: Which of them, in order.
    """

    def __init__(self, examples: FileExamples, positions: Sequence[int]) -> None:
        self.examples, self.positions = examples, positions
        self.names = [examples.names[position] for position in positions]

    def __getitem__(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = self.examples[self.positions[index]]
        return found

    @property
    def prompts(self) -> list[str]:
        """See ``FileExamples.prompts``."""
        every = self.examples.prompts
        return [every[position] for position in self.positions] if every else []

    def picture(self, index: int) -> Tensor | None:
        """See ``FileExamples.picture``."""
        return self.examples.picture(self.positions[index])
