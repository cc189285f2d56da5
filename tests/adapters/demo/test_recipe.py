"""The recipes that the demo trains by."""

import pytest
import torch
from diffusers import UNet2DModel

from retrac_adapters.demo.recipe import RECIPES
from retrac_adapters.tasks.cifar2.task import CIFAR2_16
from retrac_adapters.tasks.faces_lora.base import ATTENDING
from retrac_adapters.tasks.retrained.recipe import CHANNELS, network

NETWORKS = {name: recipe.network for name, recipe in RECIPES.items()} | {
    "digits": network(8, 1, CHANNELS),
    "cifar2-16": network(16, 3, CIFAR2_16.channels),
    "faces-lora": ATTENDING,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_sees_its_timestep(name):
    torch.manual_seed(0)
    denoiser = UNet2DModel(**NETWORKS[name]).eval()
    size, channels = NETWORKS[name]["sample_size"], NETWORKS[name]["in_channels"]
    noisy = torch.randn(1, channels, size, size)
    with torch.no_grad():
        early, late = (denoiser(noisy, t).sample for t in (10, 900))
    assert (early - late).abs().max() > 1e-3
