"""``retrac benchmark RUN`` reads a run's pictures as ``retrac attribute`` does, or from a store."""

import json

import pytest
import torch

from retrac_plugin import Scores
from tests.adapters.latents.lora_run import write_lora_run
from tests.cli.calling import called
from tests.run_folders import write_all

pytest.importorskip("matplotlib")

METHODS = "retrac-ridge,trak,diffusion-retrac"


def benchmark(given, out, *more):
    return called("benchmark", *given, "--metrics", "specificity@10", "--out", out, *more)


def test_a_latent_models_pictures_are_encoded_as_its_training_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_lora_run(tmp_path, (10, 20), [f"a picture of {i}" for i in range(6)])
    given = [run, "--train", tmp_path / "images", "--queries", tmp_path / "images"]
    benchmark(given, tmp_path / "out", "--methods", "retrac-paired")
    called("attribute", *given, "--method", "retrac-paired", "--out", tmp_path / "asked")
    found = Scores.load(tmp_path / "out" / "work" / "scores" / "retrac-paired-own.safetensors")
    expected = Scores.load(tmp_path / "asked" / "retrac-paired.safetensors")
    torch.testing.assert_close(found.values, expected.values)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    files = write_all(folder, 12)
    given = [files / "run", "--train", files / "train.safetensors"]
    store = ["--store", folder / "store", "--rows", "float32", "--shard-samples", 5]
    called("featurize", *given, *store, "--method", "retrac-ridge", "--method", "trak")
    return [*given, "--queries", files / "queries.safetensors"], folder / "store"


def test_scores_from_a_store_are_those_without_and_their_cost_is_left_out(files, tmp_path):
    given, store = files
    before = {path for path in store.rglob("*.safetensors") if path.stat().st_size}
    output = benchmark(given, tmp_path / "kept", "--methods", METHODS, "--store", store)
    benchmark(given, tmp_path / "computed", "--methods", METHODS)
    for name in METHODS.split(","):
        found, expected = (
            Scores.load(tmp_path / out / "work" / "scores" / f"{name}-own.safetensors").values
            for out in ("kept", "computed")
        )
        size = expected.abs().max()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * size)
    rows = json.loads((tmp_path / "kept" / "rows.json").read_text())["rows"]
    cost = {row["method"]: (row["seconds"], row["passes"]) for row in rows}
    assert cost["retrac-ridge"] == cost["trak"] == (None, None)
    assert cost["diffusion-retrac"][0] > 0
    assert before <= {*store.rglob("*.safetensors")}
    assert "scoring" in output


def test_a_store_that_is_not_there_is_made_and_found_by_the_next_call(files, tmp_path):
    given, _ = files
    known = []
    for out in ("first", "second"):
        benchmark(given, tmp_path / out, "--methods", "gas", "--store", tmp_path / "store")
        shards = (tmp_path / "store").rglob("*.safetensors")
        known.append({path: path.stat().st_mtime_ns for path in shards})
    assert known[0] == known[1] != {}
