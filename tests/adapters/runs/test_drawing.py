"""Pictures that a run's own pipeline draws, and why some runs have none that does."""

import json
import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.runs.drawer import UNKNOWN
from tests.adapters.latents.lora_run import write_lora_run
from tests.run_folders import tiny_unet, write_run

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def drawn(run, prompt=None, seed=3, steps=2):
    return run.drawer.draw(prompt, seed, steps, CPU)


def by_pipeline(pipeline, seed=3, **call):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    found = pipeline(generator=generator, num_inference_steps=2, output_type="np", **call)
    return torch.from_numpy(found.images[0]).permute(2, 0, 1) * 2 - 1


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_run_that_ended_draws_by_the_pipeline_that_it_saved(run):
    found = retrac.read_run(run)
    assert not found.drawer.takes_prompts
    expected = by_pipeline(DDPMPipeline.from_pretrained(run))
    assert expected.shape == (1, 8, 8)
    torch.testing.assert_close(drawn(found), expected, **CLOSE)
    torch.testing.assert_close(drawn(found), expected, **CLOSE)  # the same again
    assert not torch.allclose(drawn(found, seed=4), expected)


def test_one_without_a_pipeline_draws_by_its_last_checkpoint(run):
    (run / "model_index.json").unlink()
    last = tiny_unet().from_pretrained(run / "checkpoint-1000" / "unet")
    scheduler = DDPMScheduler.from_pretrained(run / "scheduler")
    expected = by_pipeline(DDPMPipeline(last.eval(), scheduler))
    torch.testing.assert_close(drawn(retrac.read_run(run)), expected, **CLOSE)


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    here = tmp_path_factory.mktemp("lora")
    write_lora_run(here)
    return here


def test_an_adapter_draws_in_its_base_model_what_it_is_told(lora):
    pipeline = StableDiffusionPipeline.from_pretrained(lora / "base")
    size = {"height": 16, "width": 16}
    without = by_pipeline(pipeline, prompt="a cat", **size)
    pipeline.load_lora_weights(lora / "run" / "checkpoint-10")
    expected = by_pipeline(pipeline, prompt="a cat", **size)
    found = retrac.read_run(lora / "run")
    assert found.drawer.takes_prompts
    torch.testing.assert_close(drawn(found, "a cat"), expected, **CLOSE)
    assert not torch.allclose(expected, without, atol=1e-2)
    assert not torch.allclose(drawn(found, "blue bird"), expected, atol=1e-3)


def test_drawing_leaves_the_run_s_own_network_as_it_is(lora):
    found = retrac.read_run(lora / "run")
    before = {name: value.clone() for name, value in found.model.network.state_dict().items()}
    drawn(found, "a cat")
    after = found.model.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def changed_index(run, **changes):
    path = run / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reason(run):
    found = retrac.read_run(run).drawer
    assert isinstance(found, str)
    return found


def test_pipelines_of_other_kinds_and_foreign_code_are_not_loaded(run):
    changed_index(run, unet=["os", "system"])
    assert "is made of os, too" in reason(run)
    changed_index(run, _class_name="StableDiffusionInpaintPipeline")
    assert "is a StableDiffusionInpaintPipeline: expected one of" in reason(run)
    (run / "model_index.json").write_text("[")
    assert "cannot be read" in reason(run)


def test_without_a_pipeline_it_is_said_what_is_missing(lora, tmp_path):
    shutil.copytree(lora, tmp_path / "moved")
    base = tmp_path / "moved" / "base"
    (base / "model_index.json").unlink()
    found = retrac.read_run(lora / "run", base=base)
    assert "no model_index.json in the run nor in" in found.drawer


def test_an_adapted_text_encoder_is_not_passed_over(lora, tmp_path):
    shutil.copytree(lora / "run", tmp_path / "run")
    path = tmp_path / "run" / "checkpoint-10" / "pytorch_lora_weights.safetensors"
    more = {"text_encoder.q_proj.lora_A.weight": torch.zeros(2, 6)}
    save_file({**load_file(path), **more}, path)
    assert "its text encoder was adapted too" in reason(tmp_path / "run")


def test_a_model_that_was_passed_has_no_pipeline(run):
    model = retrac.read_run(run).model
    assert isinstance(model, DiffusionModel)
    assert "was passed" in retrac.read_run(run, model=model).drawer
    assert retrac.Run(model, []).drawer == UNKNOWN


def test_what_a_pipeline_raises_is_an_error_of_ours(run):
    weights = run / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"damaged")
    with pytest.raises(InputError, match="the run's DDPMPipeline could not draw"):
        drawn(retrac.read_run(run))
