"""A task: a trained model, its data, queries of which the truth is known, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from retrac_plugin.metrics import Evidence

if TYPE_CHECKING:
    from torch import Tensor

    from retrac_plugin.checkpoints.checkpoint import Checkpoint
    from retrac_plugin.data.examples import Examples
    from retrac_plugin.draws import Draws
    from retrac_plugin.model.diffusion import DiffusionModel


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries of one kind.

    Attributes:
        name: Of the kind, such as ``"generated"``.
        examples: The queries.
        evidence: What is known of them and of the training set.
        held_back: How many of them, the first ones, serve to choose hyper-parameters alone. They
            are never reported on.
    """

    name: str
    examples: Examples
    evidence: Evidence
    held_back: int = 0


class After(NamedTuple):
    """What a model makes of the queries that was trained without some images."""

    losses: Mapping[str, Tensor]
    """Losses ``[query]`` by kind of query."""
    pictures: Mapping[str, Tensor]
    """The queries drawn anew from their own initial noise, ``[query, C, H, W]``, by kind; kinds
    that no model drew are not there."""


class Without(Protocol):
    """Trains models without some images each; none: the full model, by the same seed."""

    def __call__(self, removals: Sequence[tuple[int, ...]], seed: int = 0) -> list[After]:
        """Return what each model makes of the queries.

        Args:
            removals: Positions in the training set of what each model does without.
            seed: 0: the order of images and the noise of training are the task's own; others give
                others. Only given where it is not 0.
        """


@dataclass(frozen=True, eq=False)
class Task:
    """What methods are compared on.

    Attributes:
        name: What users type.
        model: The diffusion model.
        checkpoints: Of its training.
        train: The training set.
        train_draws: Timesteps and noise of training samples, for methods that ask for them.
        query_draws: Timesteps and noise of queries.
        queries: By kind.
        batch_size: Samples per network pass.
        device: Where methods compute; None: where the network is.
        about: How it was made, to be written beside the results.
        without: How to retrain without some images; None: the task cannot.
        shared_draws: Timesteps and noise of both sides, for methods that take both at the same;
            None: as ``query_draws``.
    """

    name: str
    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    train: Examples
    train_draws: Draws
    query_draws: Draws
    queries: tuple[Queries, ...]
    batch_size: int = 64
    device: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    without: Without | None = None
    shared_draws: Draws | None = None


class TaskSource(Protocol):
    """What a registered task's ``load`` returns."""

    def prepare(self, directory: Path) -> Task:
        """Return the task; what takes long, such as training, is kept below ``directory``."""

    def regenerate(self, directory: Path) -> Path:
        """Retrain for the ground truth, going on where a killed run stopped.

        Returns:
            The file that holds it, below ``directory``.
        """
