"""A small denoiser of the tests' own, for whatever does not depend on the architecture."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass

import torch
from torch import nn

import retrac_plugin as retrac


class SmallDenoiser(nn.Module):
    """Two convolutions, a timestep and, on request, a class."""

    def __init__(self, channels=1, classes=None):
        super().__init__()
        self.enter = nn.Conv2d(channels, 4, 3, padding=1)
        self.time = nn.Linear(1, 4)
        self.label = None if classes is None else nn.Embedding(classes, 4)
        self.leave = nn.Conv2d(4, channels, 3, padding=1)

    def forward(self, noisy, timesteps, class_labels=None):
        shift = self.time(timesteps[:, None].to(noisy.dtype) / 100)
        if self.label is not None:
            shift = shift + self.label(class_labels)
        return self.leave(torch.tanh(self.enter(noisy) + shift[:, :, None, None]))


@dataclass
class Case:
    """A model with checkpoints and data."""

    network: SmallDenoiser
    schedule: retrac.VariancePreserving
    checkpoints: list
    train: list
    queries: list

    @functools.cached_property
    def model(self):
        return retrac.wrap(self.network, self.schedule)


def small_case(train=7, queries=3, checkpoints=2, dtype=torch.float64, classes=None, seed=0):
    """Build a case; the same arguments give the same one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [SmallDenoiser(classes=classes).to(dtype) for _ in range(checkpoints)]
    series = [
        retrac.Checkpoint(copy.deepcopy(network.state_dict()), 0.1 * (k + 1), 10 * (k + 1))
        for k, network in enumerate(networks)
    ]
    schedule = retrac.VariancePreserving(torch.linspace(0.999, 0.01, 100))

    def examples(count):
        images = torch.rand(count, 1, 4, 4, generator=generator, dtype=dtype) * 2 - 1
        if classes is None:
            return list(images)
        labels = torch.randint(classes, (count,), generator=generator)
        return [{"sample": i, "class_labels": c} for i, c in zip(images, labels, strict=True)]

    return Case(networks[0].eval(), schedule, series, examples(train), examples(queries))
