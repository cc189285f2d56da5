"""Diffusers' U-Nets and schedulers against the textbook loss, and against diffusers itself."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    FluxTransformer2DModel,
    IPNDMScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)

import retrac_plugin as retrac
from retrac_plugin.errors import PluginError
from tests.textbook import loss_function

PLAIN = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (4, 8),
    "norm_num_groups": 2,
    "attention_head_dim": 4,
}
NETWORKS = {
    "attention": lambda: UNet2DModel(
        **PLAIN,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ),
    "classes": lambda: UNet2DModel(
        **PLAIN,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=5,
    ),
    "cross-attention": lambda: UNet2DConditionModel(
        **PLAIN,
        in_channels=3,
        out_channels=3,
        cross_attention_dim=6,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ),
}
CONDITIONS = {
    "attention": {},
    "classes": {"class_labels": torch.tensor([1, 4])},
    "cross-attention": {"encoder_hidden_states": torch.randn(2, 3, 6, dtype=torch.float64)},
}
SCHEDULERS = {
    "ddpm": DDPMScheduler(),
    "ddim": DDIMScheduler(num_train_timesteps=50, beta_schedule="scaled_linear"),
    "cosine": DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    "sample": DDIMScheduler(prediction_type="sample"),
    "pndm": PNDMScheduler(),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return request.param, NETWORKS[request.param]().double().eval()


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_losses_equal_the_textbook(network, scheduler, loss):
    name, unet = network
    scheduler = SCHEDULERS[scheduler]
    model = retrac.wrap(unet, scheduler, loss=loss)
    samples, noise = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    timesteps = torch.tensor([3, scheduler.config.num_train_timesteps - 1])
    batch = model.diffuse(samples, timesteps, noise, CONDITIONS[name])
    losses = model.losses({}, dict(unet.named_parameters()), batch)
    loss_of = loss_function(
        lambda *args, **conditions: unet(*args, **conditions).sample,
        scheduler.alphas_cumprod,
        scheduler.config.prediction_type,
        loss,
    )
    for i in range(2):
        example = {"sample": samples[i], **{k: v[i] for k, v in CONDITIONS[name].items()}}
        expected = loss_of(example, timesteps[i], noise[i])
        torch.testing.assert_close(losses[i], expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("scheduler", [SCHEDULERS["ddpm"], SCHEDULERS["cosine"]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noising_equals_the_schedulers_own(scheduler, dtype):
    schedule = retrac.wrap(NETWORKS["attention"](), scheduler).schedule
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
        (NETWORKS["attention"], IPNDMScheduler()),
        (
            lambda: FluxTransformer2DModel(
                num_layers=1, num_single_layers=1, attention_head_dim=4, num_attention_heads=1
            ),
            DDPMScheduler(),
        ),
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
