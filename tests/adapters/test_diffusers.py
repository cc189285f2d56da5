"""Diffusers' U-Nets and schedulers against the textbook loss, and against diffusers itself."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, IPNDMScheduler, PNDMScheduler, UNet1DModel

import retrac_plugin as retrac
from retrac_plugin.data.collating import collate
from retrac_plugin.errors import PluginError
from tests.adapters.zoo import NETWORKS, make_examples, make_network
from tests.textbook import loss_function

SCHEDULERS = {
    "ddpm": DDPMScheduler(),
    "ddim": DDIMScheduler(num_train_timesteps=50, beta_schedule="scaled_linear"),
    "cosine": DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    "sample": DDIMScheduler(prediction_type="sample"),
    "pndm": PNDMScheduler(),
}


@pytest.fixture(scope="module", params=["unet", "unet-classes", "unet-text"])
def network(request):
    return request.param, make_network(request.param)


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_losses_equal_the_textbook(network, scheduler, loss):
    name, unet = network
    scheduler = SCHEDULERS[scheduler]
    model = retrac.wrap(unet, scheduler, loss=loss)
    examples = make_examples(name, 2)
    conditions = collate(examples, [0, 1], "train")
    samples, noise = conditions.pop("sample"), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    timesteps = torch.tensor([3, scheduler.config.num_train_timesteps - 1])
    batch = model.diffuse(samples, timesteps, noise, conditions)
    losses = model.losses({}, dict(unet.named_parameters()), batch)
    loss_of = loss_function(
        lambda *args, **conditions: unet(*args, **conditions).sample,
        scheduler.alphas_cumprod,
        scheduler.config.prediction_type,
        loss,
    )
    for i in range(2):
        expected = loss_of(examples[i], timesteps[i], noise[i])
        torch.testing.assert_close(losses[i], expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("scheduler", [SCHEDULERS["ddpm"], SCHEDULERS["cosine"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noising_equals_the_schedulers_own(scheduler, dtype):
    schedule = retrac.wrap(NETWORKS["unet"](), scheduler).schedule
    samples, noise = torch.randn(2, 4, 3, 8, 8, dtype=dtype)
    timesteps = torch.tensor([0, 10, 500, 999])
    a, s = (c.view(-1, 1, 1, 1) for c in schedule.coefficients(timesteps, dtype))
    expected = scheduler.add_noise(samples, noise, timesteps)
    torch.testing.assert_close(a * samples + s * noise, expected, rtol=0, atol=0)
    velocity = scheduler.get_velocity(samples, noise, timesteps)
    torch.testing.assert_close(a * noise - s * samples, velocity, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make_network", "scheduler"),
    [
        (NETWORKS["unet"], IPNDMScheduler()),
        (UNet1DModel, DDPMScheduler()),
    ],
)
def test_pairs_that_are_not_supported_say_so(make_network, scheduler):
    with pytest.raises(PluginError, match=r"no adapter knows diffusers\..* with diffusers\."):
        retrac.wrap(make_network(), scheduler)


def test_a_torch_module_of_ones_own_with_a_diffusers_scheduler():
    from tests.small import SmallDenoiser

    model = retrac.wrap(SmallDenoiser(), DDPMScheduler())
    batch = model.diffuse(torch.zeros(2, 1, 4, 4), torch.tensor([1, 2]), torch.ones(2, 1, 4, 4), {})
    assert model.losses({}, dict(model.network.named_parameters()), batch).shape == (2,)


def test_predict_brings_a_network_of_diffusers_that_is_not_known():
    network = UNet1DModel(extra_in_channels=64).eval()
    model = retrac.wrap(
        network,
        DDPMScheduler(),
        predict=lambda call, noisy, timesteps, conditions: call(noisy, timesteps).sample,
    )
    samples = torch.zeros(1, 2, 256)
    batch = model.diffuse(samples, torch.tensor([3]), samples, {})
    expected = network(samples, torch.tensor([3])).sample.square().mean()
    losses = model.losses({}, dict(network.named_parameters()), batch)
    torch.testing.assert_close(losses[0], expected)
