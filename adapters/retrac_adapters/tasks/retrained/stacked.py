"""Trains many small models at once, each on its own subset: for a tenth of the images, or half.

A model this small spends most of a step's time on calling kernels. Stacking the parameters of
several models lets each call do the work for all; none of them knows of the others, since Adam
works element by element and each model's loss depends on its own parameters alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.starting import Start


@dataclass(frozen=True)
class Training:
    """One model to train.

    Attributes:
        members: Positions of its images in the training set.
        seed: Of its initial weights, the order of its images, its timesteps and noise.
        without: Positions in the training set of images that are left out of its batches, the
            others being visited as if they were there: whatever differs is their doing.
    """

    members: Tensor
    seed: int
    without: tuple[int, ...] = ()


def train_together(
    images: Tensor, trainings: Sequence[Training], recipe: Recipe, start: Start
) -> list[dict[str, Tensor]]:
    """Train one model for each of ``trainings``; return what was trained of each, by name.

    Args:
        images: The whole training set ``[N, C, H, W]``.
        trainings: What to train, all on subsets of one size.
        recipe: How; its own seed is not used.
        start: What from; what is not trained must be the same for every seed.
    """
    networks = [start.network(training.seed) for training in trainings]
    base, stacked = _stackable(networks[0]), _stacked(networks)
    scheduler = DDPMScheduler(**recipe.scheduler)
    optimizer = torch.optim.Adam(list(stacked.values()), lr=recipe.learning_rate, fused=True)
    streams = [_visits(images, training, recipe, scheduler) for training in trainings]

    def predict(parameters: dict[str, Tensor], noised: Tensor, timesteps: Tensor) -> Tensor:
        arguments = (noised, timesteps)
        prediction: Tensor = functional_call(base, parameters, arguments, {"return_dict": False})[0]
        return prediction

    for step in range(recipe.steps):
        noised, timesteps, noise, share = map(torch.stack, zip(*map(next, streams), strict=True))
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be stacked
            predicted = vmap(predict)(stacked, noised, timesteps)
            errors = start.criterion(predicted, noise, reduction="none")
            optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(step)
            optimizer.zero_grad()
            torch.autograd.backward((errors.flatten(2).mean(2) * share).sum())
        optimizer.step()
    return [
        {name: value[m].detach().clone() for name, value in stacked.items()}
        for m in range(len(trainings))
    ]


def _stackable(network: nn.Module) -> nn.Module:
    """Have its group norms take their inputs in memory's order: ``vmap`` knows no other."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(lambda module, args: (args[0].contiguous(),))
    return network


def _stacked(networks: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Return the parameters that are trained, of all networks at once, by name."""
    each = [
        {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
        for network in networks
    ]
    return {name: torch.stack([own[name] for own in each]).requires_grad_() for name in each[0]}


def _visits(
    images: Tensor, training: Training, recipe: Recipe, scheduler: DDPMScheduler
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield noised images, timesteps, noise and each image's share in the loss, without end."""
    generator = torch.Generator().manual_seed(training.seed)
    without = torch.tensor(training.without, dtype=torch.int64)
    while True:
        order = training.members[torch.randperm(len(training.members), generator=generator)]
        for ids in torch.split(order, recipe.batch_size):
            timesteps = torch.randint(
                scheduler.config.num_train_timesteps, ids.shape, generator=generator
            )
            noise = torch.randn(images[ids].shape, generator=generator)
            kept = (~torch.isin(ids, without)).float()
            share = kept / kept.sum().clamp(min=1)  # nothing is learnt from an empty batch
            yield scheduler.add_noise(images[ids], noise, timesteps), timesteps, noise, share
