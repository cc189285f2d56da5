"""What a script's arguments make of its objective."""

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

import retrac_plugin as retrac
from retrac_adapters.runs.objective import read_objective
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.runs.findings import CONTRADICTION, NOT_MODELLED, NOT_RECORDED
from tests import textbook_scripts as scripts
from tests.adapters.zoo import make_examples, make_network
from tests.golden import assert_equal

PLACES = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def objective_of(scheduler, network=None, script=None, **arguments):
    return read_objective(scheduler, network, Arguments(arguments, script, ()))


def subjects(objective, kind):
    return {finding.subject for finding in objective.findings if finding.kind == kind}


def assert_loss_is_the_scripts(name, scheduler, loss_of, script=None, **arguments):
    """Compare one sample's loss under the arguments with the script's own."""
    network = make_network(name)
    objective = objective_of(scheduler, network, script, **arguments)
    model = retrac.wrap(network, objective.scheduler, **objective.options)
    example = make_examples(name, 1)[0]
    noise, timestep = torch.randn(3, 8, 8, dtype=torch.float64), torch.tensor([700])
    sample, noise_batch, conditions = scripts.batch_of_one(example, noise)
    batch = model.diffuse(sample, timestep, noise_batch, conditions)
    buffers, parameters = dict(network.named_buffers()), dict(network.named_parameters())
    assert_equal(
        model.losses(buffers, parameters, batch)[0].detach(),
        loss_of(network)(example, 700, noise).detach(),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"weighting_scheme": "sigma_sqrt"},
        {"weighting_scheme": "cosmap"},
        {"weighting_scheme": "logit_normal"},
        {"weighting_scheme": "none", "precondition_outputs": 1},
    ],
)
def test_arguments_of_the_sd3_scripts(arguments):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheme = arguments["weighting_scheme"]
    assert_loss_is_the_scripts(
        "sd3",
        scheduler,
        lambda network: scripts.flow_matching(
            scripts.call_transformer(network),
            scheduler,
            "none" if scheme == "logit_normal" else scheme,
            "precondition_outputs" in arguments,
        ),
        **arguments,
    )


def test_the_guidance_scale_of_the_flux_scripts():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    assert_loss_is_the_scripts(
        "flux",
        scheduler,
        lambda network: scripts.flow_matching(scripts.call_flux(network, 1.0), scheduler),
        weighting_scheme="none",
        guidance_scale=1.0,
    )


@pytest.mark.parametrize(
    "scheduler",
    [EulerDiscreteScheduler(prediction_type="v_prediction"), EDMEulerScheduler()],
)
def test_edm_style_of_the_sdxl_scripts(scheduler):
    assert_loss_is_the_scripts(
        "unet-sdxl",
        scheduler,
        lambda network: scripts.edm_style(scripts.call_unet(network), scheduler),
        do_edm_style_training=True,
    )


@pytest.mark.parametrize(
    ("script", "plus_one"), [("text2image-fine-tune", False), ("dreambooth-lora-sd-xl", True)]
)
def test_min_snr_of_a_velocity_by_script(script, plus_one):
    scheduler = DDPMScheduler(prediction_type="v_prediction")
    weight = objective_of(scheduler, script=script, snr_gamma=5.0).options["weight"]
    timesteps = torch.tensor([10, 700])
    alpha = scheduler.alphas_cumprod[timesteps].double()
    snr = alpha / (1 - alpha)
    expected = snr.clamp(max=5) / snr + 1 if plus_one else snr.clamp(max=5) / (snr + 1)
    schedule = retrac.wrap(torch.nn.Linear(1, 1), scheduler).schedule
    torch.testing.assert_close(weight.on(schedule)(timesteps), expected)


def test_prediction_type_sample_is_weighed_by_train_unconditional_alone():
    scheduler = DDPMScheduler(prediction_type="sample")
    assert_loss_is_the_scripts(
        "unet",
        scheduler,
        lambda network: scripts.unconditional_sample(scripts.call_unet(network), scheduler),
        script="train_unconditional",
    )
    unknown = objective_of(scheduler)
    assert "weight" not in unknown.options
    assert subjects(unknown, NOT_RECORDED) == {"weighting"}


def test_timestep_distributions_of_the_sd3_scripts():
    scheduler = FlowMatchEulerDiscreteScheduler()
    normal = objective_of(
        scheduler, weighting_scheme="logit_normal", logit_mean=0.5, logit_std=2.0
    ).options["timestep_distribution"]
    torch.testing.assert_close(
        normal(PLACES), torch.sigmoid(0.5 + 2.0 * torch.distributions.Normal(0.0, 1.0).icdf(PLACES))
    )
    mode = objective_of(scheduler, weighting_scheme="mode", mode_scale=0.5).options
    cosine = torch.cos(torch.pi / 2 * PLACES)
    torch.testing.assert_close(
        mode["timestep_distribution"](PLACES), 1 - PLACES - 0.5 * (cosine**2 - 1 + PLACES)
    )


def test_the_prediction_type_of_the_arguments_wins():
    saved = PNDMScheduler(beta_schedule="scaled_linear")
    objective = objective_of(saved, prediction_type="v_prediction")
    assert objective.scheduler.config.prediction_type == "v_prediction"
    assert saved.config.prediction_type == "epsilon"
    assert subjects(objective, CONTRADICTION) == {"prediction type"}
    assert not subjects(objective_of(saved, prediction_type="epsilon"), CONTRADICTION)
    assert not subjects(objective_of(saved, prediction_type=None), CONTRADICTION)


def test_what_the_loss_leaves_out_is_said():
    objective = objective_of(
        DDPMScheduler(),
        dream_training=True,
        input_perturbation=0.1,
        train_text_encoder=True,
        random_flip=False,
        with_prior_preservation=True,
        prior_loss_weight=0.7,
    )
    assert subjects(objective, NOT_MODELLED) == {
        "dream_training",
        "input_perturbation",
        "train_text_encoder",
        "with_prior_preservation",
    }
    assert "loss_weight of 0.7" in objective.findings[-1].text


def test_a_flow_without_arguments_says_what_is_assumed():
    assert subjects(objective_of(FlowMatchEulerDiscreteScheduler()), NOT_RECORDED) == {
        "weighting scheme"
    }
