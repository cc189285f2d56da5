"""A benchmark with attributors and metrics that break their contract: a cell, and its reason."""

import json
import sys

import numpy as np
import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import AttributorEntry, MetricEntry, plugins
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.benchmarks.rows import measure
from retrac_plugin.benchmarks.running import run
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.errors import PluginError
from retrac_plugin.metrics import Evidence
from tests.benchmarks.tasks import TRAIN, small_task

QUERIES = 12


def good(queries=QUERIES, train=TRAIN):
    return torch.arange(queries * train, dtype=torch.float64).view(queries, train)


def with_nan():
    values = good()
    values[2, 3] = torch.nan
    return values


def exits():
    sys.exit("bye")


RETURNED = {
    "transposed": (
        lambda: retrac.Scores(good(TRAIN + 1, QUERIES)),
        "returned scores of shape [13, 12], expected [query, train] = [12, 12]",
    ),
    "short": (lambda: retrac.Scores(good(train=9)), "returned scores of shape [12, 9]"),
    "flat": (lambda: retrac.Scores(good().flatten()), "returned scores of shape [144]"),
    "tensor": (good, "returned a Tensor, expected retrac_plugin.Scores"),
    "array": (lambda: retrac.Scores(good().numpy()), "returned a ndarray, expected retrac_plugin"),
    "none": (lambda: None, "returned a NoneType"),
    "nan": (
        lambda: retrac.Scores(with_nan()),
        "1 of 144 scores are not finite, such as nan of training sample 3 for query 2",
    ),
    "norms": (lambda: retrac.Scores(good(), torch.ones(2, 5)), "gradient norms of shape [2, 5]"),
    "about": (
        lambda: retrac.Scores(good(), about={"a": torch.ones(1)}),
        "cannot be written as JSON",
    ),
    "raises": (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    "exits": (exits, "SystemExit: bye"),
}


def attributor_of(returned):
    class Method:
        def __init__(self, model, checkpoints, **options):
            pass

        def attribute(self, train, queries):
            return returned()

    return Method


def register(monkeypatch, methods=(), metrics=()):
    known = {**plugins.attributors(), **{e.name: (e, "test") for e in methods}}
    measures = {**plugins.metrics(), **{e.name: (e, "test") for e in metrics}}
    monkeypatch.setattr(plugins, "attributors", lambda: known)
    monkeypatch.setattr(plugins, "metrics", lambda: measures)


@pytest.mark.parametrize("name", RETURNED)
def test_scores_that_are_none_are_an_error_naming_the_method(monkeypatch, tmp_path, name):
    returned, reason = RETURNED[name]
    entry = AttributorEntry(f"bad-{name}", "", lambda: attributor_of(returned))
    register(monkeypatch, [entry])
    found, other = score_methods(small_task(), [entry.name, "random"], lambda line: None, tmp_path)
    assert reason in found.reason
    assert reason.startswith(("ZeroDivision", "SystemExit")) or entry.name in found.reason
    assert not found.scores
    assert other.scores and not other.reason


def test_scores_that_need_gradients_are_those_numbers(monkeypatch, tmp_path):
    entry = AttributorEntry(
        "graph", "", lambda: attributor_of(lambda: retrac.Scores(good().requires_grad_().T.T * 1))
    )
    register(monkeypatch, [entry])
    (found,) = score_methods(small_task(), ["graph"], lambda line: None, tmp_path)
    assert torch.equal(found.scores["planted"].values, good()[:8])


def test_a_method_that_exits_when_it_is_loaded_or_made_stops_no_other(monkeypatch):
    class Exits:
        def __init__(self, model, checkpoints, **options):
            sys.exit(0)

    register(
        monkeypatch,
        [AttributorEntry("loads", "", exits), AttributorEntry("makes", "", lambda: Exits)],
    )
    found = score_methods(small_task(), ["loads", "makes", "random"], lambda line: None)
    assert found[0].reason == (
        "PluginError: plugin 'test' cannot load its attributor 'loads': SystemExit: bye"
    )
    assert found[1].reason == "SystemExit: 0"
    assert found[2].scores


def test_self_influence_that_fails_costs_no_scores(monkeypatch):
    class Half(attributor_of(lambda: retrac.Scores(good()))):
        def self_influence(self, train):
            return torch.ones(5)

    register(monkeypatch, [AttributorEntry("half", "", lambda: Half)])
    told = []
    (found,) = score_methods(small_task(), ["half"], told.append, self_influence=True)
    assert found.scores
    assert found.self_influence is None
    assert "half returned scores of shape [1, 5], expected [query, train] = [1, 12]" in told[-1]


NUMBERS = {
    "a float": 0.25,
    "an integer": 3,
    "a truth": True,
    "a tensor of none": torch.tensor(0.25),
    "a tensor of one": torch.tensor([[0.25]]),
    "an array of one": np.array([0.25]),
    "numpy's float": np.float32(0.25),
}
NO_NUMBERS = {
    "a tensor of two": (
        torch.ones(2),
        "the metric returned a Tensor of shape [2], expected a number",
    ),
    "nothing": (None, "the metric returned a NoneType, expected a number"),
    "a text": ("0.25", "the metric returned a str, expected a number"),
    "a complex number": (1j, "the metric returned a complex, expected a number"),
}


def row_of(metric, scored="random"):
    outcomes = score_methods(small_task(), [scored], lambda line: None)
    return measure(small_task(), outcomes, [MetricEntry("m", "", lambda: metric)])[0]


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_one_element_is_a_number(value):
    row = row_of(lambda values, evidence: value)
    assert (row.value, row.low, row.high) == (torch.as_tensor(value).item(),) * 3
    assert type(row.value) is float
    json.dumps(row.value)


@pytest.mark.parametrize("case", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_an_empty_cell(case):
    value, reason = case
    row = row_of(lambda values, evidence: value)
    assert row.value is None
    assert row.reason == reason


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (lambda values, evidence: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda values, evidence: exits(), "SystemExit: bye"),
        (lambda values: 0.0, "TypeError: "),
    ],
)
def test_a_metric_that_raises_is_one_empty_cell(metric, reason):
    row = row_of(metric)
    assert row.value is None
    assert row.reason.startswith(reason)


def test_a_metric_that_cannot_do_with_one_query_has_an_interval_all_the_same():
    def spread(values, evidence):
        if len(values) < 2:
            raise ValueError("needs two queries")
        return values.std(0).mean()

    row = row_of(spread)
    assert row.low < row.value < row.high


def test_a_metric_that_fails_on_queries_drawn_twice_has_a_value_without_an_interval():
    calls = []

    def first_only(values, evidence):
        calls.append(len(values))
        return 0.5 if len(calls) == 1 else 1 / 0

    row = row_of(first_only)
    assert (row.value, row.low, row.high, row.reason) == (0.5, None, None, "")


def test_a_metric_that_changes_its_scores_changes_no_others():
    def greedy(values, evidence):
        values.fill_(7.0)
        return values.mean()

    outcomes = score_methods(small_task(), ["random"], lambda line: None)
    before = outcomes[0].scores["planted"].values.clone()
    measure(small_task(), outcomes, [MetricEntry("greedy", "", lambda: greedy)])
    assert torch.equal(outcomes[0].scores["planted"].values, before)


class Points:
    """A task of points in the plane, whose network is no image model; it cannot retrain."""

    def prepare(self, directory):
        generator = torch.Generator().manual_seed(0)
        points = torch.randn(16, 2, generator=generator, dtype=torch.float64)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = torch.nn.Linear(2, 2).double()
        levels = torch.logspace(-2, 1, 50, dtype=torch.float64)
        model = retrac.wrap(
            network,
            retrac.NoiseLevels(levels, levels, "sample", signal=torch.ones_like),
            predict=lambda call, noisy, times, conditions: call(noisy),
        )
        checkpoints = [retrac.Checkpoint(network.state_dict(), 0.1, 1)]
        queries = Queries("generated", points[12:], Evidence())
        draws = retrac.Uniform(1), retrac.Strided(2)
        return Task("points", model, checkpoints, points[:12], *draws, (queries,))


def test_a_task_need_not_be_of_images(tmp_path):
    pytest.importorskip("matplotlib")
    methods = ["diffusion-tracin", "diffusion-retrac", "trak"]
    written = run(Points(), methods, ["specificity@10"], tmp_path, 0, None, lambda line: None)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    reasons = {row["method"]: row["reason"] for row in rows}
    assert {reasons[name] for name in (*methods, "pixel-kernel", "random")} == {""}
    assert "has neither up_blocks nor a list of blocks" in reasons["untrained-kernel"]
    assert {path.name for path in written if path.suffix == ".png"} == {
        "specificity.png",
        "norms.png",
    }


def test_an_unknown_kind_of_answer_names_its_plugin(monkeypatch):
    register(monkeypatch, [AttributorEntry("loads", "", exits)])
    with pytest.raises(PluginError, match="plugin 'test' cannot load its attributor 'loads'"):
        plugins.get_attributor("loads")
