"""Folders of trainings that cannot be attributed are refused at once, with the remedy."""

import json

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from safetensors.torch import save_file

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, InputError
from tests.adapters.zoo import NETWORKS

KOHYA = {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("checkpoint-5/controlnet/config.json", "a ControlNet was trained"),
        ("checkpoint-5/t2iadapter/config.json", "a T2I-Adapter was trained"),
        ("learned_embeds-steps-500.safetensors", "embeddings of textual inversion were trained"),
        ("checkpoint-5/pytorch_custom_diffusion_weights.bin", "Custom Diffusion"),
        ("checkpoint-5/__0_0.distcp", "save them whole"),
        ("checkpoint-5/adapter_config.json", "layout of peft.*save_lora_weights"),
        ("checkpoint-5/unet/adapter_config.json", "layout of peft"),
    ],
)
def test_what_was_not_a_denoisers_training_is_said(tmp_path, file, message):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({}))
    with pytest.raises(InputError, match=message):
        retrac.read_run(tmp_path)


def test_kohyas_files_are_to_be_converted(tmp_path):
    save_file(KOHYA, tmp_path / "mine-000010.safetensors")
    with pytest.raises(InputError, match=r"kohya's scripts.*load_lora_weights"):
        retrac.read_run(tmp_path)
    (tmp_path / "run" / "checkpoint-10").mkdir(parents=True)
    save_file(KOHYA, tmp_path / "run" / "checkpoint-10" / "pytorch_lora_weights.safetensors")
    with pytest.raises(CheckpointError, match=r"kohya's scripts.*load_lora_weights"):
        retrac.read_run(tmp_path / "run", base=tmp_path)


def test_a_pipeline_without_checkpoints_says_how_to_have_one(tmp_path):
    network = NETWORKS["unet-plain"]()
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="make a folder checkpoint-STEP of the steps"):
        retrac.read_run(tmp_path)
    network.save_pretrained(tmp_path / "checkpoint-100" / "unet")  # as the remedy says
    assert retrac.read_run(tmp_path).steps == (100,)
