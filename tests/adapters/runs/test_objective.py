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
from retrac_adapters.denoising.schedules import edm_style
from retrac_adapters.runs.objective import read_objective
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.errors import InputError
from retrac_plugin.model.distributions import timesteps_at
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


@pytest.mark.parametrize(
    ("strategy", "first", "last"), [("later", 750, 1000), ("earlier", 0, 250), ("range", 100, 300)]
)
def test_biased_timesteps_are_as_frequent_as_the_scripts_weights(strategy, first, last):
    distribution = objective_of(
        DDPMScheduler(),
        timestep_bias_strategy=strategy,
        timestep_bias_multiplier=3.0,
        timestep_bias_begin=100,
        timestep_bias_end=300,
    ).options["timestep_distribution"]
    weights = torch.ones(1000, dtype=torch.float64)
    weights[first:last] *= 3
    weights /= weights.sum()
    uniforms = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    timesteps = timesteps_at(distribution, uniforms, 1000)
    drawn = timesteps.bincount(minlength=1000).double() / 400_000
    torch.testing.assert_close(drawn, weights, rtol=0, atol=1 / 400_000)


def test_a_bias_in_texts_is_that_in_numbers():
    """A recorded command holds texts."""
    numbers = {"multiplier": 3.0, "portion": 0.5, "begin": 100, "end": 300}
    for strategy in ("later", "range"):
        told, recorded = (
            objective_of(
                DDPMScheduler(),
                timestep_bias_strategy=strategy,
                **{f"timestep_bias_{name}": form(value) for name, value in numbers.items()},
            ).options["timestep_distribution"]
            for form in (lambda value: value, str)
        )
        uniforms = torch.rand(1000, dtype=torch.float64)
        assert torch.equal(told(uniforms), recorded(uniforms))


def test_a_bias_that_the_script_refuses_is_refused():
    with pytest.raises(InputError, match="expected the strategy later, earlier or range"):
        objective_of(DDPMScheduler(), timestep_bias_strategy="sooner")


@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_a_huber_loss_of_the_arguments_is_followed(kind):
    arguments = {"loss_type": kind, "huber_c": 0.3}
    objective = objective_of(DDPMScheduler(), huber_schedule="constant", **arguments)
    difference = torch.tensor([0.0, 0.2, -3.0], dtype=torch.float64)
    expected = 2 * ((difference**2 + 0.09).sqrt() - 0.3) * (0.3 if kind == "huber" else 1)
    torch.testing.assert_close(objective.loss(difference, 0 * difference), expected)
    assert not subjects(objective, NOT_MODELLED)
    falling = objective_of(DDPMScheduler(), huber_schedule="exponential", **arguments)
    assert subjects(falling, NOT_MODELLED) == {"huber_schedule"}


def test_a_loss_that_is_asked_for_goes_before_the_arguments():
    arguments = Arguments({"loss_type": "huber"}, None, ())
    objective = read_objective(DDPMScheduler(), None, arguments, loss="l1")
    assert objective.loss == "l1"
    assert subjects(objective, CONTRADICTION) == {"loss"}


def test_the_offset_noise_of_the_dreambooth_script():
    assert objective_of(DDPMScheduler(), offset_noise=True).options["noise_offset"] == 0.1
    assert objective_of(DDPMScheduler(), noise_offset=0.3).options["noise_offset"] == 0.3


def test_timesteps_as_class_labels():
    network, scheduler = make_network("unet-text-classes"), DDPMScheduler(num_train_timesteps=5)
    objective = objective_of(scheduler, network, class_labels_conditioning="timesteps")
    model = retrac.wrap(network, scheduler, **objective.options)
    example = make_examples("unet-text", 1)[0]
    text = {"encoder_hidden_states": example["encoder_hidden_states"][None]}
    sample, timesteps = example["sample"][None], torch.tensor([3])
    batch = model.diffuse(sample, timesteps, torch.ones_like(sample), text)
    expected = network(batch.noisy, timesteps, class_labels=timesteps, **text).sample
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    assert_equal(model.losses(state, {}, batch)[0], (expected - 1).square().mean())


@pytest.mark.parametrize(
    ("replayed", "said"), [(False, {"random_flip", "lora_dropout"}), (True, {"lora_dropout"})]
)
def test_kept_samples_have_what_changed_nothing_else(replayed, said):
    arguments = Arguments({"random_flip": True, "lora_dropout": 0.1}, None, ())
    assert (
        subjects(read_objective(DDPMScheduler(), None, arguments, replayed), NOT_MODELLED) == said
    )


def test_edm_style_loads_any_base_as_the_script_does():
    base = PNDMScheduler(beta_schedule="scaled_linear")
    objective = objective_of(base, do_edm_style_training=True)
    expected = edm_style(EulerDiscreteScheduler.from_config(base.config))
    assert torch.equal(objective.scheduler.sigmas, expected.sigmas)
    with pytest.raises(InputError, match=r"expected an EulerDiscreteScheduler .* got a PNDM"):
        edm_style(base)
    with pytest.raises(InputError, match="expected the prediction type epsilon or v_prediction"):
        edm_style(EulerDiscreteScheduler(prediction_type="sample"))
