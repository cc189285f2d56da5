"""The recipes that the demo trains by."""

import pytest
import torch
from diffusers import UNet2DModel

from retrac_adapters.demo.recipe import RECIPES
from retrac_adapters.tasks.retrained.recipe import network

NETWORKS = {name: recipe.network for name, recipe in RECIPES.items()} | {"digits": network(1)}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_sees_its_timestep(name):
    torch.manual_seed(0)
    denoiser = UNet2DModel(**NETWORKS[name]).eval()
    size = NETWORKS[name]["sample_size"]
    noisy = torch.randn(1, 1, size, size)
    with torch.no_grad():
        early, late = (denoiser(noisy, t).sample for t in (10, 900))
    assert (early - late).abs().max() > 1e-3
