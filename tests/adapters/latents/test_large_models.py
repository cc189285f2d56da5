"""SDXL, SD3 and Flux from the command line: doctor, estimate and attribute on an image folder."""

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import retrac_plugin as retrac
from retrac_plugin.cli import main
from tests.adapters.latents.latent_base import write_images
from tests.adapters.latents.several_encoders import parts, told_by_pipeline
from tests.adapters.runs.training import write_arguments
from tests.textbook_scripts import call_flux, call_transformer, call_unet, ddpm, flow_matching

LENGTH = 16
PARTS = {"sdxl": "unet", "sd3": "transformer", "flux": "transformer"}
TRACKERS = {
    "sdxl": "text2image-fine-tune",
    "sd3": "dreambooth-sd3-lora",
    "flux": "dreambooth-flux-dev-lora",
}


@pytest.fixture(scope="module", params=PARTS)
def trained(request, tmp_path_factory):
    """Return the family, its pipeline with an adapter, its run, and the training images."""
    name, here = request.param, tmp_path_factory.mktemp(request.param)
    pipeline = parts(name)
    pipeline.save_pretrained(here / "base")
    images = write_images(here / "images")
    network = getattr(pipeline, PARTS[name])
    adapt(network)
    layers = {f"{PARTS[name]}_lora_layers": get_peft_model_state_dict(network)}
    type(pipeline).save_lora_weights(here / "run" / "checkpoint-10", **layers)
    captions = {"train_data_dir": str(here / "images"), "center_crop": True}
    prompt = {"instance_data_dir": str(here / "images"), "instance_prompt": "a red dog"}
    write_arguments(
        here / "run",
        TRACKERS[name],
        pretrained_model_name_or_path=str(here / "base"),
        resolution=16,
        rank=2,
        weighting_scheme="none",
        max_sequence_length=LENGTH,
        guidance_scale=3.5,
        **(captions if name == "sdxl" else prompt),
    )
    return name, pipeline, here / "run", images


def adapt(network):
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_k", "to_q", "to_v"]))
    torch.manual_seed(4)
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)


def test_examples_hold_what_the_pipeline_tells(trained, tmp_path):
    name, pipeline, directory, _ = trained
    examples = retrac.read_run(directory).train_examples(cache=tmp_path)
    caption = "a red dog"  # the first of metadata.jsonl, and the instance prompt
    expected = told_by_pipeline(name, pipeline, [caption], LENGTH)
    told = dict(examples[0])
    told.update(told.pop("added_cond_kwargs", {}))
    for field, value in expected.items():
        torch.testing.assert_close(told[field], value[0], rtol=1e-5, atol=1e-6)
    if name == "sdxl":
        assert told["time_ids"].tolist() == [16, 20, 0, 2, 16, 16]


def test_the_loss_is_the_scripts(trained, tmp_path):
    name, pipeline, directory, _ = trained
    run = retrac.read_run(directory)
    example = dict(run.train_examples(cache=tmp_path)[2])
    example.pop("sample_key", None)
    noise, timestep = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)), 600
    scheduler, network = pipeline.scheduler, getattr(pipeline, PARTS[name]).eval()
    loss_of = {
        "sdxl": lambda: ddpm(call_unet(network), scheduler, "epsilon"),
        "sd3": lambda: flow_matching(call_transformer(network), scheduler),
        "flux": lambda: flow_matching(call_flux(network), scheduler),
    }[name]()
    given = retrac.Given(torch.tensor([[timestep]]), noise[None, None])
    attributor = retrac.DiffusionTracIn(
        run.model, run.checkpoints, train_draws=given, query_draws=Once(timestep, noise)
    )
    got = attributor.attribute([example], [example]).values.item()
    trainable = [p for p in network.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss_of(example, timestep, noise), trainable)
    squared_norm = sum(float(g.double().square().sum()) for g in gradients)
    assert got == pytest.approx(run.checkpoints[0].step_size * squared_norm, rel=1e-3)


class Once:
    """The same timestep and noise for every query."""

    def __init__(self, timestep, noise):
        self.timestep, self.noise = timestep, noise

    def per_sample(self):
        return 1, 1

    def draw(self, request):
        count = len(request.ids)
        timesteps = torch.full((count, 1), self.timestep)
        return retrac.draws.Draw(timesteps, self.noise.expand(count, 1, 1, *self.noise.shape))


def test_every_command_takes_the_run(trained, tmp_path):
    _, _, directory, images = trained
    cache = ["--cache", str(tmp_path / "cache")]
    fast = ["--timesteps", "1", "--noise-draws", "1", "--repeats", "1"]
    asked = ["--queries", str(images[1]), "--prompt", "a cat", "-k", "2"]
    for line in (
        ["doctor", str(directory), *cache],
        ["estimate", str(directory), *cache, *fast],
        ["attribute", str(directory), *cache, *fast, *asked, "--out", str(tmp_path / "scores")],
    ):
        done = CliRunner().invoke(main, line)
        assert done.exit_code == 0, done.output
    scores = retrac.Scores.load(tmp_path / "scores" / "diffusion-retrac.safetensors")
    assert scores.values.isfinite().all()
    assert scores.values.abs().min() > 0
