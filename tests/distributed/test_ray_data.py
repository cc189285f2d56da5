"""Ray actors fill the store that one process fills, byte for byte, whatever happens to them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from tests.run_folders import record, write_images, write_run
from tests.store.cases import content, shards

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


def featurize(folder, store, *more):
    """Run the command in a process of its own, as Ray's actors are, and return its answer."""
    given = [folder / "run", "--train", folder / "train.safetensors", "--store", store]
    options = ("--shard-samples", "2", "--timesteps", "2", "--method", "tracincp", "--json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "retrac_plugin", "featurize", *map(str, given), *options, *more],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("ray")
    images = torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    record(write_run(made / "run", steps=(90, 500)), images, steps=(90, 500))
    write_images(made / "train.safetensors", images)
    return made


def test_two_actors_make_the_store_of_one_process(folder, tmp_path):
    alone = featurize(folder, tmp_path / "one")
    together = featurize(folder, tmp_path / "two", "--ray", "2")
    assert (together["computed"], together["found"], together["left"]) == (12, 0, 0)
    assert {**alone, "store": ""} == {**together, "store": ""}
    assert content(tmp_path / "one") == content(tmp_path / "two")
    for path in shards(tmp_path / "two")[::2]:
        path.unlink()
    again = featurize(folder, tmp_path / "two", "--ray", "2")
    assert (again["computed"], again["found"]) == (6, 6)
    assert content(tmp_path / "one") == content(tmp_path / "two")
