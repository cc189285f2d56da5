"""A U-Net that is trained, as the demo's is, on a card that lets its convolutions read TF32."""

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

import retrac_plugin as retrac
from tests.tensor_cores import TensorCores

STEPS, CHECKPOINTS = 150, 8
METHODS = (retrac.DiffusionTracIn, retrac.DiffusionReTrac)


@pytest.fixture(scope="module")
def trained():
    """A small U-Net that has learned two pictures by heart, and the pictures."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        norm_num_groups=4,
        block_out_channels=(16, 16),
        add_attention=False,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ).eval()
    images, scheduler = torch.rand(2, 1, 8, 8) * 2 - 1, DDPMScheduler()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(STEPS):
        noise, timesteps = torch.randn_like(images), torch.randint(1000, (2,))
        noisy = scheduler.add_noise(images, noise, timesteps)
        loss = (network(noisy, timesteps).sample - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network, images


def scores(trained):
    """At eight checkpoints, whose steps draw other timesteps; in batches of two.

    The first batch of a side is checked, and computed without TF32.
    """
    network, images = trained
    model = retrac.wrap(network, DDPMScheduler())
    series = [retrac.Checkpoint(network.state_dict(), 1.0, k) for k in range(CHECKPOINTS)]
    settings = {
        "train_draws": retrac.Uniform(1, seed=1),
        "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
        "batch_size": 2,
        "progress": False,
    }
    made = [method(model, series, **settings) for method in METHODS]
    return retrac.attribute_together(made, images, images)


def test_it_passes_the_check_and_its_scores_move_by_little(trained):
    """With the check's switch left on, the check would refuse this run at one of its checkpoints.

    The demo's own scores move by 0.6%, see docs/engine.md.
    """
    expected = scores(trained)
    with TensorCores():
        found = scores(trained)
    for there, here in zip(found, expected, strict=True):
        assert there.about["fallbacks"] == here.about["fallbacks"] == {}
        change = (there.values - here.values).abs().max() / here.values.abs().max()
        assert 1e-6 < change < 1e-2
    assert torch.backends.cudnn.allow_tf32
