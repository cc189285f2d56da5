"""How the scores of some pairs split over checkpoints and timesteps: the terms, and their file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from retrac_plugin.attribution.tensor_files import holds, write
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading

NAME = "breakdown"
"""Of the tensor of terms, by which such a file is known."""

ROUNDING = 1e-2
"""How far, of the size of all its terms, a score may lie from their sum."""


@dataclass(frozen=True, eq=False)
class Breakdown:
    """The terms of some scores: the sum of a pair's is its score.

    Attributes:
        pairs: Positions of a query and of a training sample, int64 ``[pair, 2]``.
        values: ``[pair, checkpoint, timestep]``, the timesteps being those of the query.
        timesteps: Which these are, likewise.
        about: The method, the checkpoints' training steps (None where unknown), and how often was
            drawn.
    """

    pairs: Tensor
    values: Tensor
    timesteps: Tensor
    about: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[tuple[int, int], int]:
        """Where each pair stands: ``(query, training sample) -> place``."""
        return {(query, sample): n for n, (query, sample) in enumerate(self.pairs.tolist())}

    @cached_property
    def has_shared_timesteps(self) -> bool:
        """Whether all pairs have the same timesteps, at all checkpoints."""
        return not bool((self.timesteps != self.timesteps[:1, :1]).any())

    def is_of(self, scores: Tensor) -> bool:
        """Say whether the terms sum to scores ``[query, train]``, up to rounding."""
        queries, samples = self.pairs.T
        if (queries >= scores.shape[0]).any() or (samples >= scores.shape[1]).any():
            return False
        size = self.values.double().flatten(1).abs().sum(1)
        return bool((self._apart_from(scores) <= ROUNDING * size).all())

    def or_rather(self, other: Breakdown, scores: Tensor) -> Breakdown:
        """Return, of each pair, its own terms or another's: those whose sum is nearer its score.

        Args:
            other: Of the same pairs, at the same checkpoints and timesteps.
            scores: ``[query, train]``.
        """
        own = self._apart_from(scores) <= other._apart_from(scores)
        return replace(self, values=torch.where(own[:, None, None], self.values, other.values))

    def _apart_from(self, scores: Tensor) -> Tensor:
        """Return how far the sum of each pair's terms is from its score, ``[pair]``."""
        queries, samples = self.pairs.T
        told = scores.detach().cpu()[queries, samples].double()
        return (self.values.double().flatten(1).sum(1) - told).abs()

    @property
    def checkpoint_names(self) -> list[str]:
        """What to call the checkpoints: their training steps, or their numbers from 1."""
        steps = self.about.get("checkpoint_steps", [None] * self.values.shape[1])
        return [str(n) if step is None else f"{step:,}" for n, step in enumerate(steps, start=1)]

    def save(self, path: str | Path) -> None:
        """Write it as one safetensors file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        tensors = {NAME: self.values, "pairs": self.pairs, "timesteps": self.timesteps}
        metadata = {"retrac": json.dumps({"about": dict(self.about)})}
        write(Path(path), tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Breakdown:
        """Read what ``save`` wrote.

        Raises:
            InputError: If the file cannot be read, or holds something else.
        """
        path = Path(path)
        with reading(path, InputError, "a breakdown from"):
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("retrac", "{}"))
                pairs, values = file.get_tensor("pairs"), file.get_tensor(NAME)
                timesteps = file.get_tensor("timesteps")
            made = cls(pairs, values, timesteps, dict(header.get("about", {})))
            _check(made)
        return made


def holds_breakdown(path: Path) -> bool:
    """Say whether a file is a breakdown, rather than scores.

    Raises:
        InputError: If it cannot be read.
    """
    return holds(path, NAME)


def _check(made: Breakdown) -> None:
    """Refuse a file whose parts do not fit each other.

    Raises:
        ValueError: If they do not.
    """
    pairs, values, timesteps = made.pairs, made.values, made.timesteps
    if values.dim() != 3 or not values.is_floating_point() or not bool(values.isfinite().all()):
        raise ValueError(
            "expected finite terms [pair, checkpoint, timestep], got "
            f"{values.dtype} {list(values.shape)}"
        )
    if list(pairs.shape) != [len(values), 2] or pairs.is_floating_point():
        raise ValueError(f"its pairs {list(pairs.shape)} do not fit terms {list(values.shape)}")
    if timesteps.shape != values.shape:
        raise ValueError(f"its timesteps {list(timesteps.shape)} do not fit its terms")
