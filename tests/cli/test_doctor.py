"""``retrac doctor``, called as a user calls it."""

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import retrac_plugin as retrac
from retrac_plugin.cli import main
from tests.run_folders import record, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def doctor(run, *more):
    return CliRunner().invoke(main, ["doctor", str(run), *more])


def sections(output):
    """Return the lines under each heading."""
    found = {}
    for line in output.splitlines():
        if not line.startswith("  "):
            current = found.setdefault(line, [])
        else:
            current.append(line.strip())
    return found


def test_it_tells_what_was_found_and_what_not(run):
    result = doctor(run)
    assert result.exit_code == 0, result.output
    told = sections(result.output)
    assert set(told) == {"found", "not recorded"}
    assert "weights: all 3 checkpoints fit the network" in told["found"]
    assert any(line.startswith("denoiser: UNet2DModel of") for line in told["found"])
    assert any(line.startswith("timesteps and noise: drawn anew") for line in told["not recorded"])


def test_a_recorded_run_has_its_visits(run):
    record(run, torch.rand(4, 1, 8, 8))
    told = sections(doctor(run).output)
    assert "trace: 12 visits of 4 samples, replayed exactly" in told["found"]
    assert not any(line.startswith("timesteps") for line in told["not recorded"])


def test_stated_arguments_are_used(run):
    told = sections(doctor(run, "--argument", "script=train_unconditional").output)
    assert "arguments: as stated: script" in told["found"]
    assert not any(line.startswith("weighting") for line in told["not recorded"])


def test_contradictions_are_said_with_exit_status_0(run):
    """As `retrac attribute` takes the run, and says what it followed."""
    result = doctor(run, "--argument", "prediction_type=epsilon", "--argument", "use_ema=true")
    assert result.exit_code == 0
    told = sections(result.output)["contradiction"]
    assert [line.split(":")[0] for line in told] == ["prediction type", "EMA"]


def test_a_checkpoint_that_cannot_be_used_is_named(run):
    path = run / "checkpoint-500" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] * float("nan")}, path)
    (run / "checkpoint-90" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    result = doctor(run)
    assert result.exit_code == 1
    first, second = sections(result.output)["cannot be attributed"]
    assert first.startswith("weights: cannot read") and "checkpoint-90" in first
    assert "checkpoint-500" in second and f"1 tensors are not finite, {name!r} among them" in second


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "ema"], "the run kept no moving average there"),
        (["--base", "no/such-model"], "neither a folder nor a model in the Hugging Face cache"),
    ],
)
def test_a_run_that_cannot_be_read_gives_one_line_and_exit_status_1(run, more, message):
    result = doctor(run, *more)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_an_argument_must_have_a_value(run):
    result = doctor(run, "--argument", "snr_gamma")
    assert result.exit_code == 2
    assert "expected NAME=VALUE, got 'snr_gamma'" in result.output


def misspell(path, name, wrong):
    config = json.loads(path.read_text())
    config[wrong] = config.pop(name)
    path.write_text(json.dumps(config))


def test_misspelt_keys_of_configurations_are_told(run):
    misspell(run / "scheduler" / "scheduler_config.json", "prediction_type", "predicton_type")
    for folder in [run, *run.glob("checkpoint-*")]:
        for path in folder.glob("unet/config.json"):
            misspell(path, "norm_eps", "norm_epsilon")
    result = doctor(run)
    assert result.exit_code == 0
    of_network, of_scheduler = sections(result.output)["contradiction"]
    assert "'norm_epsilon', which UNet2DModel of diffusers" in of_network
    assert "it reads 'norm_eps', and takes its default here" in of_network
    assert "'predicton_type', which DDPMScheduler of diffusers" in of_scheduler
    assert "it reads 'prediction_type'" in of_scheduler
    assert "predicton_type" in retrac.read_run(run).description


def test_keys_of_another_version_or_scheduler_are_no_contradiction(run):
    """Such as those of a PNDM scheduler, which a DDPM one is made of in a text-to-image run."""
    path = run / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "skip_prk_steps": True, "_diffusers_version": "0.6"}))
    assert "contradiction" not in sections(doctor(run).output)
