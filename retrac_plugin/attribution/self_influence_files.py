"""Self-influence on disk: one value a training image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from retrac_plugin.attribution.tensor_files import holds, write
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading

NAME = "self_influence"
"""Of the tensor, by which such a file is known."""

_NAMES = ("train_names", "train_prompts")


@dataclass(frozen=True, eq=False)
class SelfInfluence:
    """The influence of training images on themselves.

    Attributes:
        values: ``[train]``.
        train_names: What each image is called, or none.
        about: How they were made.
        train_prompts: What each image was told in words, or none.
    """

    values: Tensor
    train_names: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    train_prompts: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write them as one safetensors file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        named = {name: getattr(self, name) for name in _NAMES}
        header = {**named, "about": dict(self.about)}
        write(path, {NAME: self.values}, {"retrac": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> SelfInfluence:
        """Read what ``save`` wrote.

        Raises:
            InputError: If the file cannot be read, or holds something else.
        """
        with reading(path, InputError, "self-influence from"):
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("retrac", "{}"))
                values = file.get_tensor(NAME)
            names, prompts = (tuple(map(str, header.get(name, ()))) for name in _NAMES)
            if values.dim() != 1 or not values.is_floating_point() or not len(values):
                raise ValueError(
                    f"expected values [train], got {values.dtype} {list(values.shape)}"
                )
            if not bool(values.isfinite().all()):
                raise ValueError("expected finite values, got NaN or infinity")
            for name, each in zip(_NAMES, (names, prompts), strict=True):
                if len(each) not in (0, len(values)):
                    found = f"{len(each)} {name.removeprefix('train_')}"
                    raise ValueError(f"it has {len(values)} values and {found}")
            return cls(values, names, dict(header.get("about", {})), prompts)


def holds_self_influence(path: Path) -> bool:
    """Say whether a file is one of self-influence, rather than of scores.

    Raises:
        InputError: If it cannot be read.
    """
    return holds(path, NAME)
