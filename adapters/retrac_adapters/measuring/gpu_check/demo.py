"""What TF32 does to scores of a network that is trained: the demo's, trained here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from retrac_adapters.demo.data import load
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.facts import Fact
from retrac_adapters.measuring.gpu_check.setting import Scale
from retrac_plugin.attribution.attributors import (
    DiffusionReTrac,
    DiffusionTracIn,
    attribute_together,
)
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.draws import Strided, Uniform
from retrac_plugin.gradients.full_precision import full_precision
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.model.devices import wait_for
from retrac_plugin.model.wrapping import wrap

METHODS = {"Diffusion-TracIn": DiffusionTracIn, "Diffusion-ReTrac": DiffusionReTrac}


@contextmanager
def rounding(products: bool) -> Iterator[None]:
    """Let convolutions, and matrix products on request, read TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high" if products else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


SWITCHES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "none": full_precision,
    "convolutions, torch's default": lambda: rounding(products=False),
    "convolutions and matrix products": lambda: rounding(products=True),
}
"""What reads TF32; the first is what the others are compared with."""


def trained(
    recipe: Recipe, steps: int, images: Tensor, device: torch.device, clock: Clock
) -> UNet2DModel:
    """Return the demo's network after some steps of its training, on a device."""
    torch.manual_seed(recipe.seed)
    network = torch.nn.Module.to(UNet2DModel(**recipe.network), device)
    scheduler, count = DDPMScheduler(**recipe.scheduler), recipe.scheduler["num_train_timesteps"]
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    for step in range(steps):
        clock.check()
        batch = images[torch.randint(len(images), (recipe.batch_size,))].to(device)
        noise = torch.randn(batch.shape).to(device)
        timesteps = torch.randint(count, (len(batch),)).to(device)
        predicted = network(scheduler.add_noise(batch, noise, timesteps), timesteps).sample
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(step)
        optimizer.zero_grad()
        torch.autograd.backward((predicted - noise).square().mean())
        optimizer.step()
    return network.eval()


def compare_switches(scale: Scale, device: torch.device, clock: Clock) -> Iterator[Fact]:
    """Train the demo's network, and attribute with what reads TF32 and without."""
    images = load().images
    network = trained(scale.recipe, scale.demo_steps, images, device, clock)
    model = wrap(network, DDPMScheduler(**scale.recipe.scheduler))
    series = [Checkpoint(network.state_dict(), 1.0, 1)]
    train, queries = images[: scale.demo_images], images[: scale.demo_queries].flip(-1)
    made = [
        method(
            model,
            series,
            train_draws=Uniform(1, seed=1),
            query_draws=Strided(scale.demo_timesteps, noise_draws=2, seed=2),
            batch_size=scale.batches[0],
            progress=clock.bar,
        )
        for method in METHODS.values()
    ]
    exact: Sequence[Tensor] | None = None
    for name, switched in SWITCHES.items():
        start = time.perf_counter()
        with switched():
            found = [scores.values.cpu() for scores in attribute_together(made, train, queries)]
        wait_for(device)
        yield Fact((name, "both"), "seconds", time.perf_counter() - start)
        exact = exact or found
        for method, there, reference in zip(METHODS, found, exact, strict=True):
            change = (there - reference).abs().mean() / reference.abs().mean()
            yield Fact((name, method), "relative change", float(change))
            ranks = spearman_rows(there.double(), reference.double())
            yield Fact((name, method), "1 - rank correlation", 1 - float(ranks.mean()))
