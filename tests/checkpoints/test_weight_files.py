"""Weights are found by every name that save_pretrained gives them."""

import shutil

import pytest
import torch

from retrac_plugin.checkpoints.weight_files import find_weights, read_weights
from retrac_plugin.errors import CheckpointError
from tests.run_folders import tiny_unet

WAYS = {
    "fp16": {"variant": "fp16"},
    "fp16 in shards": {"variant": "fp16", "max_shard_size": "10KB"},
    "shards": {"max_shard_size": "10KB"},
    "pickled shards": {"max_shard_size": "10KB", "safe_serialization": False},
    "pickled": {"safe_serialization": False},
    "pickled fp16": {"safe_serialization": False, "variant": "fp16"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_folder_of_save_pretrained_is_read_whole(tmp_path, way):
    network = tiny_unet()
    network.save_pretrained(tmp_path, **WAYS[way])
    read = read_weights(tmp_path)
    assert read.keys() == network.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in network.state_dict().items())


def test_the_file_without_a_variant_goes_first_unless_one_is_asked_for(tmp_path):
    network = tiny_unet()
    network.save_pretrained(tmp_path)
    network.save_pretrained(tmp_path, variant="fp16")
    assert find_weights(tmp_path).name == "diffusion_pytorch_model.safetensors"
    assert find_weights(tmp_path, "fp16").name == "diffusion_pytorch_model.fp16.safetensors"


def test_of_several_variants_none_is_guessed(tmp_path):
    for variant in ("fp16", "ema"):
        tiny_unet().save_pretrained(tmp_path, variant=variant)
    with pytest.raises(CheckpointError, match=r"holds the variants ema, fp16 .* keep one"):
        find_weights(tmp_path)


def test_a_shard_that_is_gone_is_named(tmp_path):
    tiny_unet().save_pretrained(tmp_path / "a", max_shard_size="10KB")
    shard = next((tmp_path / "a").glob("*-00002-*.safetensors"))
    shutil.move(shard, tmp_path)
    with pytest.raises(CheckpointError, match=f"no checkpoint at .*{shard.name}"):
        read_weights(tmp_path / "a")
