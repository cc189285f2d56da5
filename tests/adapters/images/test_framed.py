"""Runs on pixels, read from the image folder that the script was told."""

import json

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

import retrac_plugin as retrac
from retrac_adapters.images.framing import Framing
from retrac_plugin.data.image_files import PlainFiles
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED
from tests.adapters.latents.latent_base import write_images
from tests.adapters.zoo import NETWORKS


@pytest.fixture
def run_folder(tmp_path):
    network = NETWORKS["unet-plain"]()
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(tmp_path / "run")
    network.save_pretrained(tmp_path / "run" / "checkpoint-2" / "unet")
    return tmp_path / "run"


def read(run_folder, **arguments):
    return retrac.read_run(run_folder, arguments=arguments)


def subjects(run, kind):
    return {finding.subject for finding in run.findings if finding.kind == kind}


@pytest.mark.parametrize("arguments", [{"resolution": 8}, {"script": "train_unconditional"}])
def test_images_of_any_size_are_framed_as_the_script_does(tmp_path, run_folder, arguments):
    paths = write_images(tmp_path / "images")
    run = read(run_folder, train_data_dir=str(tmp_path / "images"), **arguments)
    train = run.train_examples()
    assert train.names == [path.name for path in paths]  # of metadata.jsonl
    expected = Framing(8, "bilinear").read(paths[2])
    assert torch.equal(train[2]["sample"], expected)
    assert {"images"} <= subjects(run, FOUND)
    assert ("center_crop" in subjects(run, NOT_MODELLED)) == ("resolution" in arguments)
    queries = run.query_examples(tmp_path / "images")
    assert torch.equal(queries[queries.names.index(paths[2].name)]["sample"], expected)
    (alone,) = run.query_examples(paths[2])
    assert torch.equal(alone["sample"], expected)


def test_what_is_not_known_to_be_framed_is_read_as_it_is(run_folder):
    assert isinstance(read(run_folder).reader, PlainFiles)
    path = run_folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "in_channels": 1}))
    assert isinstance(read(run_folder, resolution=8).reader, PlainFiles)


def test_a_prompt_is_refused(tmp_path, run_folder):
    with pytest.raises(InputError, match="the run brings no text encoder"):
        read(run_folder, resolution=8).query_examples(tmp_path, "a cat")
    with pytest.raises(InputError, match="arguments name no training folder"):
        read(run_folder, resolution=8).train_examples()
