"""A recorded text-to-image training, whose latents are drawn anew at every visit, replayed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.train_side import train_blocks
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.runs.diagnosis import diagnose
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, NOT_RECORDED, UNUSABLE, of_kind
from retrac_plugin.runs.trial import try_one
from tests.adapters.latents.latent_base import write_base, write_images
from tests.recording.running import record

SCRIPT = Path(__file__).with_name("text_to_image.py")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent")
    write_base(folder / "base")
    write_images(folder / "images")
    return folder


def train(base, directory, *more, keep="samples"):
    """Record six steps of two images: between two checkpoints each image is seen once."""
    command = (
        *("--pretrained_model_name_or_path", base / "base"),
        *("--train_data_dir", base / "images", "--facts", directory / "facts"),
    )
    directory.mkdir()
    record(directory / "run", *command, "--random_flip", *more, keep=keep, script=SCRIPT)
    return directory / "run", facts_in(directory / "facts")


def facts_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def replayed_losses(run, examples, step):
    """Each sample's loss, as last visited before checkpoint 1, by the weights of checkpoint 0."""
    run.model.network.double()
    checkpoint = replace(run.checkpoints[1], parameters=run.checkpoints[0].parameters)
    at = CheckpointPass(
        run.model, checkpoint, 1, StreamedEngine, torch.device("cpu"), 64, lambda done: None
    )
    nothing = torch.zeros(0, at.engine.width, dtype=at.dtype)
    blocks = train_blocks(at, ExampleSource(examples, "train"), run.train_draws, nothing)
    return torch.cat([products.losses for products in blocks])[:, 0]


def texts(run, kind):
    return {finding.subject: finding.text for finding in run.findings if finding.kind == kind}


@pytest.mark.parametrize("more", [(), ("--rank", 2)])
def test_latents_that_were_drawn_are_replayed_exactly(tmp_path, base, more):
    directory, facts = train(base, tmp_path / "here", *more)
    run = retrac.read_run(directory)
    assert texts(run, FOUND)["trace"] == "12 visits of 6 samples, replayed exactly"
    assert {"autoencoder", "random_flip", "center_crop"} & texts(run, NOT_MODELLED).keys() == set()
    examples = run.train_examples(cache=tmp_path / "cache")
    losses = replayed_losses(run, examples, 3)
    after = next(fact for fact in facts if fact["step"] == 3)  # the step taken from checkpoint 0
    expected = torch.tensor(after["losses"], dtype=torch.float64)
    torch.testing.assert_close(losses[after["ids"]], expected, rtol=1e-9, atol=0)


def test_latents_that_were_drawn_once_are_no_other_images_to_a_diagnosis(tmp_path, base):
    directory, _ = train(base, tmp_path / "here", "--draw_once")
    run = retrac.read_run(directory)
    found = diagnose(run, None, tmp_path / "cache")
    assert of_kind(found, UNUSABLE) == []
    examples = run.train_examples(cache=tmp_path / "cache")
    first = replace(run.checkpoints[1], step=run.checkpoints[0].step)
    at_first = replace(run, checkpoints=[run.checkpoints[0], first])
    expected = float(replayed_losses(at_first, examples, 3)[0])
    assert try_one(run, examples) == pytest.approx(expected, rel=1e-9)


def test_a_recorded_command_tells_the_arguments_that_no_tracker_kept(tmp_path, base):
    directory, _ = train(base, tmp_path / "here", "--no_hparams", "--max_train_steps", 3)
    run = retrac.read_run(directory)
    assert "of the recorded command, text_to_image.py" in texts(run, FOUND)["arguments"]
    assert len(run.train_examples(cache=tmp_path / "cache")) == 6


def test_without_the_latents_a_replay_is_not_called_exact(tmp_path, base):
    directory, facts = train(base, tmp_path / "here", keep="noise")
    run = retrac.read_run(directory)
    assert texts(run, FOUND)["trace"] == "12 visits of 6 samples, timesteps and noise replayed"
    assert "the dataset's stand for them" in texts(run, NOT_RECORDED)["samples"]
    assert {"autoencoder", "random_flip"} <= texts(run, NOT_MODELLED).keys()
    losses = replayed_losses(run, run.train_examples(cache=tmp_path / "cache"), 3)
    after = next(fact for fact in facts if fact["step"] == 3)
    expected = torch.tensor(after["losses"], dtype=torch.float64)
    assert (losses[after["ids"]] - expected).abs().max() > 1e-4


def test_timesteps_alone_leave_the_noise_to_be_drawn_anew(tmp_path, base):
    directory, _ = train(base, tmp_path / "here", keep="timesteps")
    run = retrac.read_run(directory)
    assert texts(run, FOUND)["trace"] == "12 visits of 6 samples, timesteps replayed"
    assert {"noise", "samples"} <= texts(run, NOT_RECORDED).keys()
    assert "the noise drawn anew" in run.description
