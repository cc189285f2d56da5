"""``retrac attribute`` and ``self-influence``, killed: the next call goes on, to the same bytes."""

import multiprocessing
import time

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from retrac_plugin.cli import main
from tests.run_folders import write_all, write_images
from tests.threads import one_thread

TRAIN = 520
"""More than two parts."""
METHODS = ("diffusion-tracin", "diffusion-retrac", "retrac-ridge")
PARTS = {"attribute": 2 * (3 + 1) + 3 * 2, "self-influence": 2 * 3}
"""Of the training set at two checkpoints, the terms of these, and what retrac-ridge takes."""


@pytest.fixture(scope="module", autouse=True)
def on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("resuming"), TRAIN)


def command(files, name, out):
    given = [files / "run", "--train", files / "train.safetensors", "--no-page"]
    if name == "attribute":
        given += ["--queries", files / "queries.safetensors", "--out", out, "--timesteps", 2]
        given += [part for method in METHODS for part in ("--method", method)]
    else:
        given += ["--out", out / "self.safetensors", "--timesteps", 1, "--noise-draws", 1]
    return [name, *map(str, given)]


def call(arguments):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def kept(folder):
    return len([path for path in folder.rglob("*.safetensors") if "work" in str(path.parent)])


def killed_after(arguments, folder, parts):
    """Kill a call as soon as so many parts of its work are kept; returns whether it was there."""
    process = multiprocessing.get_context("fork").Process(target=call, args=(arguments,))
    process.start()
    while process.is_alive() and kept(folder) < parts:
        time.sleep(0.002)
    was_alive = process.is_alive()
    process.kill()
    process.join()
    return was_alive


def content(folder):
    """Return the numbers of all files, and the texts; how long it took is no number of these."""
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {(path.name, n): t.numpy().tobytes() for n, t in load_file(path).items()}
    return found


@pytest.mark.parametrize("name", ["attribute", "self-influence"])
def test_a_call_that_was_killed_goes_on_to_the_same_bytes(files, tmp_path, name):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    told = call(command(files, name, whole))
    assert "going on" not in told
    arguments = command(files, name, stopped)
    places = torch.randperm(PARTS[name], generator=torch.Generator().manual_seed(1))[:3]
    assert any([killed_after(arguments, stopped, int(k) + 1) for k in places.sort().values])
    there = kept(stopped)
    assert there > 0
    told = call(arguments)
    assert f"going on where a call that was stopped was: it left {there} parts" in told
    assert content(stopped) == content(whole)
    assert not [path for path in stopped.iterdir() if path.is_dir()]  # its work is removed
    if name == "attribute":
        tracin = "diffusion-tracin.safetensors"
        assert (stopped / tracin).read_bytes() == (whole / tracin).read_bytes()


def test_work_on_other_pictures_is_not_taken(files, tmp_path):
    arguments = [*command(files, "attribute", tmp_path)[:-6], "--method", "tracincp"]
    assert killed_after(arguments, tmp_path, 1)
    other = write_images(tmp_path / "other.safetensors", torch.zeros(1, 1, 8, 8))
    arguments[arguments.index("--queries") + 1] = str(other)
    assert "going on" not in call(arguments)
    assert kept(tmp_path) > 0
