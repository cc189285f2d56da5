"""A person's own run as a task."""

import json

import pytest
import torch
from click.testing import CliRunner

from retrac_plugin.cli import main
from tests.run_folders import record, write_images, write_run

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run = write_run(folder / "run", steps=(10,))
    record(run, images, steps=(10,))
    train = write_images(folder / "train.safetensors", images)
    return run, train, write_images(folder / "queries.safetensors", images[:3] * 0.9)


def call(run, *more):
    return CliRunner().invoke(main, ["benchmark", str(run), *map(str, more)])


def test_it_is_measured_by_what_needs_no_retraining(files, tmp_path):
    run, train, queries = files
    result = call(
        *(run, "--train", train, "--queries", queries, "--out", tmp_path),
        *("--methods", "diffusion-retrac,pixel-similarity", "--metrics", "specificity@10,lds"),
    )
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "rows.json").read_text())
    values = {(r["method"], r["metric"]): r["value"] for r in written["rows"]}
    assert written["about"]["task"] == "run"
    assert values["diffusion-retrac", "specificity@10"] >= 1 / 3
    assert values["diffusion-retrac", "lds"] is None


def test_it_needs_its_training_set_and_queries(files):
    result = call(files[0], "--train", files[1])
    assert result.exit_code == 2
    assert "needs --train and --queries" in result.output


def test_it_has_no_recipe_to_retrain_by(files):
    run, train, queries = files
    result = call(run, "--train", train, "--queries", queries, "--regenerate")
    assert result.exit_code == 1
    assert "has no recipe to retrain by" in result.output
