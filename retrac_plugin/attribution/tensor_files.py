"""What a file of tensors holds, by which its kind is known."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading


def holds(path: Path, name: str) -> bool:
    """Say whether a file holds a tensor of a name.

    Raises:
        InputError: If it cannot be read.
    """
    with (
        reading(path, InputError, "scores from"),
        safe_open(path, framework="pt") as file,
    ):
        return name in file.keys()  # noqa: SIM118 not a dict
