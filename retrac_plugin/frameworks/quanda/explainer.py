"""Diffusion-TracIn and Diffusion-ReTrac as quanda's metrics make and call explainers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retrac_plugin.attribution.attributors import DiffusionReTrac, DiffusionTracIn
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, named
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.model.wrapping import wrap

METHODS = {"diffusion-tracin": DiffusionTracIn, "diffusion-retrac": DiffusionReTrac}

Load = Callable[[nn.Module, str], Any]
"""``(network, path)``: loads a checkpoint into a network, as quanda's ``checkpoints_load_func``."""


class DiffusionExplainer:
    """An explainer of a diffusion model.

    Args:
        model: The denoiser, in evaluation mode.
        train_dataset: Yields tuples, a sample first, or examples of ours where ``names`` is None.
        checkpoints: Paths of its checkpoints, oldest first. Default: the model's own weights.
        checkpoints_load_func: Loads them; default: they are files of weights.
        scheduler: The noise scheduler that the model was trained with.
        names: What the parts of a tuple are called for the denoiser; None drops one. The second is
            what ``targets`` are.
        method: ``"diffusion-retrac"`` or ``"diffusion-tracin"``.
        step_sizes: One for each checkpoint. Default: 1.
        train_draws: Timesteps and noise of the training samples, see ``DiffusionTracIn``.
        query_draws: Those of what is explained.
        batch_size: Samples per network pass.

    Raises:
        InputError: If the method is unknown, or there are not as many step sizes as checkpoints.
    """

    accepted_tasks: ClassVar[list[str]] = ["image_classification"]
    """What quanda asks for: samples with a label each."""

    def __init__(  # noqa: PLR0913 quanda's arguments, then those of the core
        self,
        model: nn.Module,
        train_dataset: Any,
        checkpoints: str | Sequence[str] | None = None,
        checkpoints_load_func: Load | None = None,
        *,
        scheduler: Any,
        names: Sequence[str | None] | None = ("sample", "class_labels"),
        method: str = "diffusion-retrac",
        step_sizes: Sequence[float] | None = None,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        batch_size: int = 64,
    ) -> None:
        if method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        self.model, self.names = model, names
        self.train_dataset: Examples = (
            train_dataset if names is None else named(train_dataset, names)
        )
        self.checkpoints = (
            [checkpoints] if isinstance(checkpoints, str) else list(checkpoints or ())
        )
        self.device = str(next(model.parameters()).device)
        self.attributor = METHODS[method](
            wrap(model, scheduler),
            _series(model, self.checkpoints, checkpoints_load_func, step_sizes),
            train_draws=train_draws,
            query_draws=query_draws,
            batch_size=batch_size,
            device=self.device,
            progress=False,
        )

    def explain(self, test_data: Tensor, targets: Any = None) -> Tensor:
        """Return the influence of every training sample, ``[test sample, train]``.

        Args:
            test_data: Samples ``[test sample, ...]``.
            targets: What the denoiser is told of them, under the second name, where it has one.

        Raises:
            InputError: If it is told something, and there are no targets.
        """
        fields = {"sample": test_data}
        told = None if self.names is None or len(self.names) < 2 else self.names[1]
        if told is not None:
            if targets is None:
                raise InputError(f"explain: expected targets, since the denoiser is told {told!r}")
            fields[told] = torch.as_tensor(targets)
        rows = [{n: v[i] for n, v in fields.items()} for i in range(len(test_data))]
        return self.attributor.attribute(self.train_dataset, rows).values

    def self_influence(self, batch_size: int = 32) -> Tensor:
        """Return each training sample's influence on itself, ``[train]``, at the query's draws.

        Args:
            batch_size: Not used: the explainer has its own.
        """
        return self.attributor.self_influence(self.train_dataset, self.attributor.query_draws)


def _series(
    model: nn.Module, paths: Sequence[str], load: Load | None, step_sizes: Sequence[float] | None
) -> list[Checkpoint]:
    sizes = [1.0] * max(1, len(paths)) if step_sizes is None else list(step_sizes)
    if len(sizes) != max(1, len(paths)):
        raise InputError(
            f"step_sizes: expected one for each of {len(paths)} checkpoints, got {sizes}"
        )
    if not paths:
        return [Checkpoint(model.state_dict(), sizes[0])]
    if load is None:
        return [Checkpoint(Path(path), size) for path, size in zip(paths, sizes, strict=True)]
    return [
        Checkpoint(_loaded(model, path, load), size)
        for path, size in zip(paths, sizes, strict=True)
    ]


def _loaded(model: nn.Module, path: str, load: Load) -> dict[str, Tensor]:
    network = copy.deepcopy(model)
    load(network, path)
    return network.state_dict()
