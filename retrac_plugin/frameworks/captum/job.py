"""What Captum's own methods are given: training samples and queries with their draws, a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Draws
from retrac_plugin.frameworks.captum.denoiser import Labelled, LossOfDraws
from retrac_plugin.frameworks.nesting import Keys
from retrac_plugin.frameworks.side_loaders import Side, shows_progress, sides_of
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.progress import asked_for, bar


@dataclass(frozen=True)
class Job:
    """The scoring of training samples for queries.

    Attributes:
        core: Our own method for the same model, checkpoints and draws.
        model: The diffusion model.
        checkpoints: Those that the method uses.
        train: The training samples.
        queries: The queries.
        conditions: Where each of an item's conditions belongs, see ``nesting``.
    """

    core: DiffusionTracIn
    model: DiffusionModel
    checkpoints: Sequence[Checkpoint]
    train: Side
    queries: Side
    conditions: tuple[Keys, ...]

    @property
    def show_progress(self) -> bool:
        """Whether Captum is to show its bars."""
        return shows_progress(self.core)

    def bar(self, total: int, name: str, unit: str = "sample") -> Any:
        """Return a progress bar, for what Captum shows none of."""
        return bar(total, name, unit, asked_for(self.core.setting.progress))

    def losses(self, model: DiffusionModel | None = None) -> LossOfDraws:
        """Return the model for Captum, or another one with the same checkpoints."""
        return LossOfDraws(
            self.model if model is None else model,
            self.checkpoints,
            self.core.device,
            self.conditions,
        )


def make_job(
    core: DiffusionTracIn, train: Examples, queries: Examples, last_only: bool, train_draws: Draws
) -> Job:
    """Return the job of scoring ``train`` for ``queries``.

    Args:
        core: Has the model, the checkpoints, the queries' draws, the device and the batch size.
        train: The training samples.
        queries: The queries.
        last_only: For methods of one checkpoint: use the last.
        train_draws: Timesteps and noise of the training samples.

    Raises:
        InputError: If the data cannot be used.
    """
    check_deterministic(core.model.network)
    checkpoints = core.checkpoints[-1:] if last_only else core.checkpoints
    sides = sides_of(core, train, queries, train_draws, last_only)
    return Job(core, core.model, checkpoints, *sides)


def labelled(side: Side) -> DataLoader[Any]:
    """Return a loader with one item per example, as Captum takes it."""
    return DataLoader(Labelled(side.examples()), batch_size=side.at_once)
