import json

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, InputError, PluginError
from tests.run_folders import record, write_run


@pytest.fixture
def run_directory(tmp_path):
    return write_run(tmp_path)


def test_an_unrecorded_run_is_read(run_directory):
    run = retrac.read_run(run_directory)
    assert [checkpoint.step for checkpoint in run.checkpoints] == [90, 500, 1000]
    assert run.trace is None
    assert run.train_draws == retrac.Uniform(1)
    assert run.model.schedule.prediction_type == "sample"
    assert not run.model.network.training
    assert "not recorded" in run.description
    images = torch.rand(4, 1, 8, 8)
    attributor = retrac.DiffusionReTrac(
        run.model, run.checkpoints, query_draws=retrac.Strided(2), train_draws=run.train_draws
    )
    assert attributor.attribute(images, images[:2]).values.shape == (2, 4)


def test_a_recorded_run_replays(run_directory):
    images = torch.rand(4, 1, 8, 8)
    record(run_directory, images)
    run = retrac.read_run(run_directory)
    assert [c.step_size for c in run.checkpoints] == pytest.approx([0.1, 0.1, 0.1])
    assert isinstance(run.train_draws, retrac.Recorded)
    assert "recorded, and replayed" in run.description


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="expected a training run's folder"):
        retrac.read_run(tmp_path / "gone")
    with pytest.raises(PluginError, match="no plugin can read"):
        retrac.read_run(tmp_path)


def test_a_run_without_checkpoints(tmp_path):
    write_run(tmp_path, steps=())
    with pytest.raises(CheckpointError, match="no checkpoint-STEP folder"):
        retrac.read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "describes no model of diffusers"),
        ("{}", "describes no model of diffusers"),
        (json.dumps({"_class_name": "NoSuchModel"}), "describes no model of diffusers"),
        (json.dumps({"_class_name": "DDPMScheduler"}), "'DDPMScheduler' is no ModelMixin"),
        (json.dumps({"_class_name": "logging"}), "'logging' is no ModelMixin"),
    ],
)
def test_damaged_configurations(run_directory, text, message):
    (run_directory / "unet" / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        retrac.read_run(run_directory)
