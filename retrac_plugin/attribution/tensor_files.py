"""Files of tensors: written whole or not at all, known by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading, writing
from retrac_plugin.files import write_atomically


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: Where.
        tensors: By name.
        metadata: Texts, by name.

    Raises:
        OutputError: If it cannot be written.
    """
    held, texts = {name: value.contiguous() for name, value in tensors.items()}, dict(metadata)
    with writing(path):
        write_atomically(path, lambda temporary: save_file(held, temporary, texts))


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
