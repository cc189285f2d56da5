"""Intervals of differences: what they hold, and how often."""

import csv
from dataclasses import replace

import pytest
import torch

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks import differences
from retrac_plugin.benchmarks.differences import (
    Difference,
    continued_differences,
    lds_differences,
    write_differences,
)
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.tables import write_markdown
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.lds import lds
from retrac_plugin.metrics.leave_one_out import continued
from tests.benchmarks.tasks import HELD_BACK, small_task

TRAIN = 12


@pytest.fixture(autouse=True)
def _fewer(monkeypatch):
    monkeypatch.setattr(differences, "RESAMPLES", 200)


@pytest.fixture(scope="module")
def task():
    return small_task()


def outcome(task, name, values):
    return Outcome(name, {kind.name: Scores(values(kind)) for kind in task.queries})


def noisy(seed, noise):
    """Scores that are the truth and noise."""

    def values(kind):
        generator = torch.Generator().manual_seed(seed)
        subsets, losses = kind.evidence.subsets, kind.evidence.subset_losses
        if subsets is None:
            return torch.zeros(len(kind.examples), TRAIN)
        fitted = torch.linalg.pinv(subsets.double()) @ -losses.nanmean(0).double()
        spread = fitted.std() * noise
        return fitted.T + spread * torch.randn(fitted.T.shape, generator=generator).double()

    return values


def planted(task):
    (kind,) = (kind for kind in task.queries if kind.evidence.subset_losses is not None)
    return kind


def test_differences_are_those_of_the_metric(task):
    outcomes = [outcome(task, name, noisy(i, i)) for i, name in enumerate(("a", "b", "c"))]
    kind = planted(task)
    known = kind.evidence.of_queries(torch.arange(HELD_BACK, len(kind.examples)))
    values = {o.method: lds(o.scores[kind.name].values[HELD_BACK:], known) for o in outcomes}
    found = lds_differences(task, outcomes)
    assert [(d.method, d.other) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    for each in found:
        assert each.queries == kind.name
        assert each.difference == pytest.approx(values[each.method] - values[each.other])
        assert each.low <= each.difference <= each.high


def test_equal_scores_differ_by_nothing(task):
    twice = [outcome(task, name, noisy(0, 1)) for name in ("a", "b")]
    (only,) = lds_differences(task, twice)
    assert (only.difference, only.low, only.high) == (0, 0, 0)
    assert not only.is_clear


def test_the_truth_is_clearly_above_its_opposite(task):
    truth, opposite = noisy(0, 0.0), lambda kind: -noisy(0, 0.0)(kind)
    (only,) = lds_differences(task, [outcome(task, "a", truth), outcome(task, "b", opposite)])
    assert only.is_clear
    assert only.low > 0


def test_the_order_of_two_methods_turns_the_interval(task):
    first, second = outcome(task, "a", noisy(0, 1)), outcome(task, "b", noisy(1, 3))
    (there,), (back,) = (lds_differences(task, pair) for pair in ([first, second], [second, first]))
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_images_left_out_of_a_continuation_are_compared_likewise(task):
    kind = planted(task)
    left_out = torch.tensor([1, 4, 5, 7, 9, 11])
    rises = torch.randn(6, len(kind.examples), generator=torch.Generator().manual_seed(3))
    known = replace(kind.evidence, continued=left_out, continued_changes=rises)
    task = replace(task, queries=(replace(kind, evidence=known),))
    truth = torch.zeros(len(kind.examples), TRAIN)
    truth[:, left_out] = rises.T
    outcomes = [outcome(task, "truth", lambda _: truth), outcome(task, "noise", noisy(0, 1))]
    (only,) = continued_differences(task, outcomes)
    reported = known.of_queries(torch.arange(HELD_BACK, len(kind.examples)))
    other = continued(outcomes[1].scores[kind.name].values[HELD_BACK:], reported)
    assert only.difference == pytest.approx(1 - other)
    assert only.is_clear
    assert continued_differences(small_task(), outcomes) == []


def test_a_method_that_failed_has_no_differences(task):
    failed = Outcome("failed", reason="it did")
    assert lds_differences(task, [failed, outcome(task, "a", noisy(0, 1))]) == []


def test_a_task_without_retraining_has_none(task):
    kinds = tuple(
        type(kind)(kind.name, kind.examples, Evidence(), kind.held_back) for kind in task.queries
    )
    bare = type(task)(**{**vars(task), "queries": kinds})
    pair = [outcome(bare, name, noisy(0, 1)) for name in ("a", "b")]
    assert lds_differences(bare, pair) == []


def test_the_file_has_a_line_for_every_pair(task, tmp_path):
    outcomes = [outcome(task, name, noisy(i, i)) for i, name in enumerate(("a", "b", "c"))]
    found = lds_differences(task, outcomes)
    write_differences(found, tmp_path / "differences.csv")
    with (tmp_path / "differences.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["low"]) for line in lines] == [each.low for each in found]


def test_the_table_says_who_is_above_and_who_cannot_be_told_apart(tmp_path):
    found = [
        Difference("q", "a", "b", 0.2, 0.1, 0.3),
        Difference("q", "a", "c", 0.1, -0.1, 0.3),
        Difference("q", "b", "c", -0.3, -0.4, -0.2),
    ]
    write_markdown([Row("a", "q", "lds", 0.5)], found, tmp_path / "table.md")
    text = (tmp_path / "table.md").read_text()
    assert "| a | 1 | 0 | c |" in text
    assert "| b | 0 | 2 |  |" in text
    assert "| c | 1 | 0 | a |" in text
