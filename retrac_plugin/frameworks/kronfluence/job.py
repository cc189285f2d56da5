"""What kronfluence is given: a network at the last checkpoint, training samples and queries."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.checkpoints.checkpoint import network_at
from retrac_plugin.data.examples import Examples
from retrac_plugin.frameworks.nesting import Keys
from retrac_plugin.frameworks.side_loaders import Side, shows_progress, sides_of
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.diffusion import DiffusionModel


@dataclass(frozen=True)
class Job:
    """The scoring of training samples for queries.

    Attributes:
        model: The diffusion model with a network of its own, which kronfluence may rebuild.
        attributed: Names of the network's attributed parameters.
        train: The training samples.
        queries: The queries.
        conditions: Where each of an item's conditions belongs, see ``nesting``.
        device: Where to compute.
        show_progress: Whether kronfluence is to show its bars.
    """

    model: DiffusionModel
    attributed: frozenset[str]
    train: Side
    queries: Side
    conditions: tuple[Keys, ...]
    device: torch.device
    show_progress: bool


def make_job(core: DiffusionTracIn, train: Examples, queries: Examples) -> Job:
    """Return the job of scoring ``train`` for ``queries`` at the last checkpoint.

    Args:
        core: Has the model, the checkpoints, the draws, the device and the batch size.
        train: The training samples.
        queries: The queries.

    Raises:
        InputError: If the network depends on chance, or the data cannot be used.
        CheckpointError: If the checkpoint does not fit.
    """
    check_deterministic(core.model.network)
    sides = sides_of(core, train, queries, core.train_draws, last_only=True)
    return Job(
        _at_last_checkpoint(core),
        frozenset(core.model.attributed_names()),
        *sides,
        core.device,
        shows_progress(core),
    )


def _at_last_checkpoint(core: DiffusionTracIn) -> DiffusionModel:
    """Return the model with a copy of its network: kronfluence replaces layers for good."""
    network = network_at(core.model.network, core.checkpoints[-1], core.device)
    return replace(core.model, network=network)
