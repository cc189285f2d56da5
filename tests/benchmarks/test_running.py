"""A benchmark from task to files."""

import csv
import json

import pytest
import torch
from click.testing import CliRunner

from retrac_plugin import Scores, plugins
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import (
    ATTAINABLE,
    CEILING,
    CONSTANT,
    Row,
    control_rows,
    measure,
)
from retrac_plugin.benchmarks.running import run
from retrac_plugin.benchmarks.tables import write_csv, write_markdown
from retrac_plugin.cli import main
from retrac_plugin.errors import PluginError
from retrac_plugin.hookspecs import TaskEntry
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.lds import lds, one_retraining
from tests.benchmarks.tasks import HELD_BACK, SmallSource, small_task, truth

pytest.importorskip("matplotlib")
METHODS = ["diffusion-tracin", "diffusion-retrac", "trak", "random", "training-loss"]
METRICS = ["lds", "specificity@10", "class-agreement@10", "norm-bias", "tracing-hit@1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    written = run(SmallSource(), METHODS, METRICS, out, 0, "cpu", lambda text: None)
    return out, written


@pytest.fixture(scope="module")
def rows(made):
    return json.loads((made[0] / "rows.json").read_text())["rows"]


def one(rows, method, queries, metric):
    (row,) = (
        row
        for row in rows
        if (row["method"], row["queries"], row["metric"]) == (method, queries, metric)
    )
    return row


def test_every_method_has_a_row_for_each_metric_and_kind_of_query(rows):
    found = {(row["method"], row["queries"], row["metric"]) for row in rows}
    assert {(m, q, k) for m in METHODS for q in ("planted", "plain") for k in METRICS} <= found


def test_values_are_those_of_the_reported_queries_alone(made, rows):
    scores = Scores.load(made[0] / "work" / "scores" / "trak-planted.safetensors").values
    known = truth().of_queries(torch.arange(HELD_BACK, len(scores)))
    assert one(rows, "trak", "planted", "lds")["value"] == pytest.approx(
        lds(scores[HELD_BACK:], known)
    )


def test_what_cannot_be_measured_says_why(rows):
    row = one(rows, "trak", "plain", "lds")
    assert row["value"] is None
    assert row["reason"].startswith("the evidence lacks subsets")
    assert one(rows, "training-loss", "plain", "norm-bias")["reason"] == ""


def test_csv_holds_what_json_holds(made, rows):
    with (made[0] / "rows.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == [row["method"] for row in rows]
    assert [line["value"] for line in lines] == [
        "" if row["value"] is None else str(row["value"]) for row in rows
    ]


def test_json_says_how_it_was_made(made):
    about = json.loads((made[0] / "rows.json").read_text())["about"]
    assert about["task"] == "small"
    assert about["made of"] == "nothing"
    assert about["queries"]["planted"] == {"all": 8, "held back": HELD_BACK}
    assert {"torch", "numpy"} <= set(about["versions"])


def test_markdown_names_every_method_and_its_cost(made):
    text = (made[0] / "table.md").read_text()
    assert all(f"| {method} | " in text for method in METHODS)
    assert "damping" in text
    assert "the evidence lacks subsets" in text


def test_figures_are_drawn(made):
    drawn = [path for path in made[1] if path.suffix == ".png"]
    assert {path.stem for path in drawn} == {
        "lds",
        "cost",
        "specificity",
        "norms",
        "proponents",
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_figures_that_have_nothing_to_show_are_not_drawn(tmp_path):
    written = run(SmallSource(), ["gradient-dot"], ["specificity@10"], tmp_path, 0, None, print)
    drawn = {path.name for path in written if path.suffix == ".png"}
    assert drawn == {"specificity.png", "proponents.png"}  # which the controls have, too


def test_controls_are_the_ceiling_and_constant_scores():
    known = truth()
    found = {row.method: row for row in control_rows("planted", known)}
    ceiling = one_retraining(known).mean().item()
    assert found[CEILING].value == pytest.approx(ceiling)
    assert found[CONSTANT].value == pytest.approx(lds(torch.ones(8, 12), known))
    positive = max(ceiling, 0)
    assert found[ATTAINABLE].value == pytest.approx((2 * positive / (1 + positive)) ** 0.5)


def test_the_best_possible_is_what_the_true_expectation_scores():
    """Losses made of a signal and noise of the seed; the signal itself is the best method."""
    generator = torch.Generator().manual_seed(0)
    subsets = torch.rand(400, 500, generator=generator).double()
    influence = torch.randn(60, 500, generator=generator).double()
    signal = (subsets @ influence.T) / 500**0.5
    noise = torch.randn(2, 400, 60, generator=generator).double() * signal.std()
    known = Evidence(subsets=subsets, subset_losses=noise - signal)
    found = {row.method: row.value for row in control_rows("planted", known)}
    assert found[ATTAINABLE] == pytest.approx(lds(influence, known), abs=0.02)


def test_the_best_possible_knows_that_some_subsets_were_retrained_once():
    generator = torch.Generator().manual_seed(0)
    subsets = torch.rand(400, 500, generator=generator).double()
    influence = torch.randn(60, 500, generator=generator).double()
    signal = (subsets @ influence.T) / 500**0.5
    losses = torch.randn(2, 400, 60, generator=generator).double() * signal.std() - signal
    losses[1, 100:] = torch.nan
    known = Evidence(subsets=subsets, subset_losses=losses)
    found = {row.method: row.value for row in control_rows("planted", known)}
    assert found[ATTAINABLE] == pytest.approx(lds(influence, known), abs=0.03)


def test_without_retraining_there_are_no_controls():
    assert list(control_rows("plain", Evidence())) == []


def test_a_single_seed_has_no_ceiling_but_a_constant_control():
    known = truth()
    single = Evidence(subsets=known.subsets, subset_losses=known.subset_losses[:1])
    assert [row.method for row in control_rows("planted", single)] == [CONSTANT]


def test_a_failed_method_has_a_row_with_its_reason(tmp_path):
    entries = [plugins.metrics()["specificity@10"][0]]
    rows = measure(small_task(), [Outcome("broken", reason="it | broke")], entries)
    assert [row.reason for row in rows] == ["it | broke"] * 2
    write_csv(rows, tmp_path / "rows.csv")
    write_markdown(rows, [], tmp_path / "table.md")
    assert (
        "- it | broke (broken by specificity@10 and 1 more)" in (tmp_path / "table.md").read_text()
    )


def test_an_undefined_value_is_written_as_none(tmp_path):
    row = Row("m", "q", "norm-bias")
    write_csv([row], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].startswith("m,q,norm-bias,,,")


@pytest.mark.parametrize(
    ("methods", "metrics", "message"),
    [
        (["guessing"], ["lds"], "unknown attributor 'guessing'"),
        (["random"], ["beauty"], "unknown metric 'beauty'"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_done(tmp_path, methods, metrics, message):
    with pytest.raises(PluginError, match=message):
        run(SmallSource(), methods, metrics, tmp_path / "out", 0, None, print)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def small_task_installed(monkeypatch):
    entry = TaskEntry("small", "for a test", SmallSource)
    monkeypatch.setattr(plugins, "tasks", lambda: {"small": (entry, "test")})


def test_the_command_runs_a_task(small_task_installed, tmp_path):
    result = CliRunner().invoke(
        main,
        [
            *("benchmark", "small", "--methods", "random,pixel-similarity", "--metrics", "lds"),
            *("--out", str(tmp_path)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'table.md'}" in result.output
    assert {"rows.csv", "rows.json", "table.md", "lds.png"} <= {p.name for p in tmp_path.iterdir()}


def test_a_task_that_cannot_retrain_is_refused_before_it_is_scored(small_task_installed, tmp_path):
    result = CliRunner().invoke(
        main, ["benchmark", "small", "--remove", "3", "--methods", "random", "--out", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "the task small cannot retrain without images" in result.output
    assert not list(tmp_path.glob("work/kept/*"))


def test_the_command_regenerates_the_truth(small_task_installed, tmp_path):
    result = CliRunner().invoke(
        main, ["benchmark", "small", "--regenerate", "--out", str(tmp_path)]
    )
    assert result.output == f"the ground truth: {tmp_path / 'work' / 'truth'}\n"


def test_an_unknown_task_lists_those_there_are():
    result = CliRunner().invoke(main, ["benchmark", "imagenet"])
    assert result.exit_code == 1
    assert "unknown task 'imagenet': installed are cifar-mnist" in result.output
