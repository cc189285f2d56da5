"""What the frameworks' own methods share as registered attributors of this package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.checkpoints.checking import check_plain_steps, check_same_weights
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Draws
from retrac_plugin.errors import GradientError, InputError, RetracError
from retrac_plugin.model.diffusion import DiffusionModel


class RegisteredMethod(ABC):
    """A framework's own method.

    Args:
        model: The diffusion model, from ``retrac_plugin.wrap``.
        checkpoints: At least one, without preconditioners or weights of the queries' own: the
            frameworks take plain gradients at one point.
        train_draws: Timestep and noise of each training sample, see ``DiffusionTracIn``.
        query_draws: Timesteps and noise of each query; gradients are means over them.
        batch_size: Samples per network pass.
        device: Where to compute; default: where the network is.
        progress: Show the framework's progress bars; default: on a terminal.
        settings: The method's own, see ``defaults``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]
    """What a user may set, with its default."""

    def __init__(
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        *,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> None:
        unknown = sorted(settings.keys() - self.defaults.keys())
        if unknown:
            known = ", ".join(self.defaults) or "none"
            raise InputError(
                f"{self.name}: unknown {', '.join(unknown)}, its settings are: {known}"
            )
        self.settings = {**self.defaults, **settings}
        self.core = DiffusionTracIn(
            model,
            checkpoints,
            train_draws=train_draws,
            query_draws=query_draws,
            batch_size=batch_size,
            device=device,
            progress=progress,
        )
        check_plain_steps(self.name, self.core.checkpoints)
        check_same_weights(self.name, self.core.checkpoints)

    @abstractmethod
    def score(self, train: Examples, queries: Examples) -> Tensor:
        """Return the scores ``[query, train]``."""

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return the method's scores of every training sample for every query.

        Args:
            train: The training set.
            queries: The images to explain.

        Raises:
            RetracError: If the data cannot be used, or the scores are not finite.
        """
        values = self.score(train, queries).detach().to(self.core.device)
        if not values.isfinite().all():
            raise GradientError(
                f"{self.name}: {int((~values.isfinite()).sum())} of {values.numel()} scores are "
                f"not finite with the settings {self.settings}. A larger damping, regularization "
                "or scaling is the usual remedy"
            )
        return Scores(values.contiguous(), None, {"method": self.name, **self.settings})


class RefusedMethod:
    """A framework's method that has no meaning for diffusion models; constructing it says why."""

    name: ClassVar[str]
    refusal: ClassVar[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise RetracError(f"{self.name} cannot score a diffusion model: {self.refusal}")


@contextmanager
def surroundings(dtype: torch.dtype) -> Iterator[None]:
    """Within, torch's global generator is seeded, and its default type is ``dtype``.

    Some of the frameworks' methods draw from the one; some make tensors of the other, whatever the
    model's type.
    """
    default = torch.get_default_dtype()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
