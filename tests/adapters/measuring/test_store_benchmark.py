"""The store's benchmarks run, at sizes that say nothing of speed."""

import json

import pytest
from click.testing import CliRunner

from retrac_adapters.measuring.store_benchmark import __main__ as asking
from retrac_adapters.measuring.store_benchmark import filling, indexing
from tests.threads import threads_restored


def results(command, file, *options):
    with threads_restored():
        done = CliRunner().invoke(command, [*options, "--out", str(file.parent)])
    assert done.exit_code == 0, done.output
    return json.loads(file.read_text())


def test_asking(tmp_path):
    options = ("--samples", "300", "--rounds", "1", "--scratch", str(tmp_path / "stores"))
    found = results(asking.main, tmp_path / "results.json", *options)
    for shape, numbers in (("10 timesteps of 512", 5120), ("one row of 4096", 4096)):
        of_shape = found[f"300 samples, {shape}, float16, 1 threads"]
        assert of_shape["bytes"] > 300 * numbers * 2
        assert of_shape["one query, CPU seconds"] > 0
    stores = [path for path in (tmp_path / "stores").iterdir() if path.is_dir()]
    assert len(stores) == 2


def test_indexing(tmp_path):
    pytest.importorskip("faiss")
    found = results(indexing.main, tmp_path / "index.json", "--samples", "3000")
    assert found["3000 rows, random, 1 threads"]["recall@10"] > 0.9


def test_filling(tmp_path):
    options = ("--size", "1.0 M", "--samples", "10", "--rounds", "1", "--part", "cost")
    found = results(filling.main, tmp_path / "filling.json", *options)
    for name in filling.METHODS:
        assert found[f"{name}, 1.0 M, 10 passes"]["ratio"] > 0
