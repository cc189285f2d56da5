"""What every method on gradients beside the paper's two is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.attribution.setting import Progress
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Draws, Shared
from retrac_plugin.methods.setting import DEFAULT, FeatureSetting, Gradients
from retrac_plugin.model.diffusion import DiffusionModel


class GradientMethod(ABC):
    """A method that takes both sides at the same timesteps, unless its class says otherwise.

    Args:
        model: See ``Setting``, like ``batch_size``, ``device`` and ``progress``.
        checkpoints: Methods of a single model use the last.
        train_draws: Not used: these methods take both sides at the same timesteps.
        query_draws: Timesteps and noise of either side. Default: ``Shared(10)``.
        batch_size: All draws of a sample share a network pass.
        device: See ``Setting``.
        gradients: What computes gradients, and what is kept of them. Default: the method's.
        progress: See ``Setting``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name: ClassVar[str]
    draws_alike: ClassVar[bool] = True
    """A benchmark is to give both sides the same timesteps, and as many draws."""
    draws: ClassVar[Draws] = Shared(10)
    """Timesteps and noise, unless told otherwise."""
    gradients: ClassVar[Gradients] = DEFAULT
    """What computes gradients, and what is kept of them, unless told otherwise."""

    def __init__(
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        *,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        gradients: Gradients | None = None,
        progress: Progress = None,
    ) -> None:
        own = type(self)
        draws = own.draws if query_draws is None else query_draws
        self.setting = FeatureSetting.build(
            model, checkpoints, draws, batch_size, device, gradients or own.gradients, progress
        )

    @abstractmethod
    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the influence of every training sample on every query.

        Args:
            train: The training set.
            queries: The images to explain.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
