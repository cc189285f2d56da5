"""A diffusion model as Captum sees a model: called with a batch of data, it returns losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Dataset

from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.frameworks.drawn_rows import as_rows
from retrac_plugin.frameworks.nesting import Keys, nested
from retrac_plugin.frameworks.side_loaders import Items
from retrac_plugin.model.diffusion import DiffusionModel


class LossOfDraws(nn.Module):
    """``(x0, t, noise, *conditions) -> [sample]``, the mean of the losses of a sample's draws.

    Its parameters are copies of the attributed ones, in the network's order: Captum loads
    checkpoints into what it is given, and differentiates by all of its parameters. The user's
    network is used as a function, and stays as it is.

    Args:
        model: The diffusion model.
        checkpoints: What ``load`` loads, by position.
        device: Where to compute.
        conditions: Where each of an item's conditions belongs, see ``nesting``.
    """

    def __init__(
        self,
        model: DiffusionModel,
        checkpoints: Sequence[Checkpoint],
        device: torch.device,
        conditions: Sequence[Keys],
    ) -> None:
        super().__init__()
        self.model, self.checkpoints = model, checkpoints
        self.device, self.conditions = device, conditions
        self.names = model.attributed_names()
        own = dict(model.network.named_parameters())
        self.values = nn.ParameterList(own[n].detach().clone().to(device) for n in self.names)
        self.load(self, 0)

    def load(self, _: nn.Module, position: int) -> float:
        """Load a checkpoint, as Captum's ``checkpoints_load_func``; return its step size."""
        self.position = position
        self.fixed = load_into(self.model.network, self.checkpoints[position], self.device)
        with torch.no_grad():
            for name, value in zip(self.names, self.values, strict=True):
                value.copy_(self.fixed.pop(name))
        return self.checkpoints[position].step_size

    def forward(self, *data: Tensor) -> Tensor:
        """Return the mean loss of each sample's draws, ``[sample]``."""
        moved = [part.to(self.device) for part in data]
        rows = as_rows(moved, self.position, self.values[0].dtype)
        conditions = nested(self.conditions, rows.conditions)
        batch = self.model.diffuse(rows.samples, rows.timesteps, rows.noise, conditions)
        parameters = dict(zip(self.names, self.values, strict=True))
        # The fused attention kernels have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            losses = self.model.losses(self.fixed, parameters, batch)
        return losses.view(len(data[0]), -1).mean(1)


class Labelled(Dataset[tuple[Tensor, ...]]):
    """The same items with something in the place where Captum expects a label."""

    def __init__(self, items: Items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]  # a Subset has a length

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return (*self.items[index], torch.zeros(()))


class TheLossItself:
    """``(losses, label) -> losses``: the loss function for a model that returns losses."""

    reduction = "none"

    def __call__(self, losses: Tensor, _: Tensor) -> Tensor:
        """Return the losses."""
        return losses
