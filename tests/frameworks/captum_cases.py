"""The Captum classes in both of their modes, with a diffusion model and without, on small cases."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests.small import small_case

CORES = {DiffusionTracInCP: retrac.DiffusionTracIn, DiffusionReTracCP: retrac.DiffusionReTrac}
DRAWS = {"train_draws": retrac.Uniform(1, seed=1), "query_draws": retrac.Strided(2, seed=2)}
EXACT = {"rtol": 1e-9, "atol": 1e-13}
RATES = (0.1, 0.3)
"""Learning rates of the two checkpoints."""


@dataclass
class Setting:
    """A network, two checkpoints that a function of the user's loads, and data."""

    network: nn.Module
    states: list[dict[str, Tensor]]
    train: TensorDataset
    queries: tuple[Tensor, ...]
    options: dict[str, Any]
    own_draws: dict[str, Any] = field(default_factory=dict)
    """What makes ``self_influence`` the diagonal of ``influence``."""
    loads: list[int] = field(default_factory=list)

    def load(self, network, position):
        """Load a checkpoint as users do, mode and all."""
        self.loads.append(position)
        network.load_state_dict(self.states[position])
        network.train()
        return RATES[position]

    def make(self, attributor, train=None, **options):
        options = {"checkpoints_load_func": self.load, "batch_size": 3, **self.options, **options}
        train = self.train if train is None else train
        return attributor(options.pop("model", self.network), train, [0, 1], **options)

    def loader(self, batch_size, of=None):
        return DataLoader(self.train if of is None else TensorDataset(*of), batch_size)

    @property
    def train_batch(self):
        return tuple(self.train.tensors)


def plain_setting():
    """A regression with as many layers as it takes, and no diffusion model."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [
            nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double() for _ in range(3)
        ]
    random = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    return Setting(
        network=networks[2].eval(),
        states=[network.state_dict() for network in networks[:2]],
        train=TensorDataset(random(7, 3), random(7, 2)),
        queries=(random(3, 3), random(3, 2)),
        options={"loss_fn": nn.MSELoss(reduction="none")},
    )


def diffusion_setting():
    """The small denoiser with its scheduler; its own weights are those of no checkpoint."""
    case = small_case(checkpoints=3)
    query_draws = retrac.Strided(2, seed=2)
    return Setting(
        network=case.network,
        states=[checkpoint.parameters for checkpoint in case.checkpoints[1:]],
        train=TensorDataset(torch.stack(case.train)),
        queries=(torch.stack(case.queries),),
        options={
            "scheduler": case.schedule,
            "train_draws": retrac.Uniform(1, seed=1),
            "query_draws": query_draws,
        },
        own_draws={"query_draws": query_draws},
    )


SETTINGS = {"plain": plain_setting, "diffusion": diffusion_setting}


def make(kind, case, train=None, **options):
    """Return a class of Captum's kind for a case with a diffusion model."""
    options = {"batch_size": 4, **DRAWS, **options}
    train = case.train if train is None else train
    return kind(options.pop("model", case.model), train, case.checkpoints, **options)
