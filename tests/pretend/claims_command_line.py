"""``--device``: the command line computes there, and writes what it writes on the CPU."""

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from retrac_plugin import Scores
from retrac_plugin.cli import main
from tests.pretend.device import install
from tests.pretend.watch import watching
from tests.run_folders import record, write_images, write_run

DEVICE = install()
FEW = ("--timesteps", 2, "--noise-draws", 1)
# Single precision, whose sums are rounded in another order on another device.
NEAR = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run = write_run(folder / "run", steps=(90,))
    record(run, images, steps=(90,))
    train = write_images(folder / "train.safetensors", images)
    queries = write_images(folder / "queries.safetensors", images[:2] * 0.9)
    return {"run": run, "train": train, "queries": queries}


def call(*arguments):
    with watching() as waits:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return waits


def attribute(files, device, out):
    return call(
        *("attribute", files["run"], "--train", files["train"], "--queries", files["queries"]),
        *("-k", 3, "--out", out, "--device", device, "--no-page", *FEW),
    )


def test_attribute(files, tmp_path):
    assert not attribute(files, "cpu", tmp_path / "cpu")
    assert attribute(files, "pretend", tmp_path / "there")  # it was used
    for method in ("diffusion-tracin", "diffusion-retrac"):
        expected, found = (
            Scores.load(tmp_path / where / f"{method}.safetensors") for where in ("cpu", "there")
        )
        torch.testing.assert_close(found.values, expected.values, **NEAR)
        torch.testing.assert_close(found.gradient_norms, expected.gradient_norms, **NEAR)


def test_self_influence(files, tmp_path):
    found = {}
    for device in ("cpu", "pretend:0"):
        out = tmp_path / f"{device[:3]}.safetensors"
        call(
            "self-influence",
            files["run"],
            "--train",
            files["train"],
            "--out",
            out,
            "--device",
            device,
            *FEW,
        )
        found[device] = load_file(out)
    expected, there = found.values()
    assert expected.keys() == there.keys()
    for name, values in expected.items():
        torch.testing.assert_close(there[name], values, **NEAR)


def test_estimate(files):
    options = ("--train", files["train"], "--queries", 2, "--device", "pretend", *FEW)
    call("estimate", files["run"], *options)
