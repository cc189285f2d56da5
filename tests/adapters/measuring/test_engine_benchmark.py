"""The engine's benchmark: what it times gives equal numbers, and what it writes can be read."""

import json

import pytest
import torch
from click.testing import CliRunner

from retrac_adapters.measuring.engine_benchmark import __main__ as command
from retrac_adapters.measuring.engine_benchmark import frameworks, others, ours
from retrac_adapters.measuring.engine_benchmark.timing import measure
from retrac_adapters.measuring.engine_benchmark.workload import Size, Workload

pytest.importorskip("captum")
pytest.importorskip("dattri")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:captum"),
    pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning"),
]

OPTIONS = {"norm_num_groups": 4, "attention_head_dim": 4}
TINY = Size("tiny", (8, 16), image=8, batch=4, options=OPTIONS)


@pytest.fixture
def work():
    return Workload(TINY)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(frameworks, "TRAIN", 5)
    monkeypatch.setattr(frameworks, "QUERIES", 2)
    monkeypatch.setattr(frameworks, "BATCH", 2)


@pytest.mark.parametrize("name", ["dattri TracInAttributor", "Captum TracInCP, batches of 1"])
def test_the_frameworks_are_timed_on_equal_work(name, work, few):
    own, theirs = (frameworks.STEPS[each](work)() for each in ("this engine", name))
    assert own.shape == (2, 5)
    torch.testing.assert_close(theirs, own, rtol=1e-3, atol=1e-4 * float(own.abs().max()))


def test_every_contender_runs_and_is_timed_in_every_round(work):
    with ours.random_vectors(3, work.layout.width) as vectors:
        contenders = ours.contenders(work, vectors, None) | others.contenders(work, vectors)
        found = measure(contenders, rounds=2)
    assert found.keys() == contenders.keys()
    for measured in found.values():
        assert len(measured.ratios) == 2
        low, high = measured.spread
        assert 0 < low <= measured.ratio <= high


def test_the_command_adds_to_what_a_folder_holds(tmp_path, monkeypatch, work):
    row = {"train side, 10 queries": others.one_draw_at_a_time(work)}
    rows = row | dict.fromkeys(command.WHOLE_JOB, row["train side, 10 queries"])
    monkeypatch.setattr(command, "Workload", lambda _: work)
    monkeypatch.setattr(ours, "contenders", lambda *_: rows)
    monkeypatch.setattr(others, "contenders", lambda *_: {})
    for size in ("6.5 M", "1.0 M"):
        options = ["--part", "cost", "--size", size, "--rounds", "1", "--out", str(tmp_path)]
        assert CliRunner().invoke(command.main, options).exit_code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["cost"]) == ["1.0 M", "6.5 M"]
    page = (tmp_path / "table.md").read_text()
    assert "| train side, 10 queries | **" in page
    assert "### A whole job: 50,000 training samples" in page
