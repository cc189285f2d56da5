"""Counterfactual removal, on a planted truth."""

from dataclasses import replace

import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.benchmarks import After
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.removal import AT_RANDOM, Removal, removal_rows
from retrac_plugin.errors import InputError
from tests.benchmarks.tasks import HELD_BACK, REPORTED, TRAIN, small_task

QUERIES = HELD_BACK + REPORTED
REMOVAL = Removal(k=3, queries=4, kind="planted", repeats=5)


def truth():
    """How much each image matters to each query: three images of its own matter to each."""
    matters = torch.zeros(QUERIES, TRAIN).double()
    for query in range(QUERIES):
        matters[query, [query % TRAIN, (query + 2) % TRAIN, (query + 5) % TRAIN]] = 0.1
    return matters


def without(removals):
    """Losses of 2 that rise, and pictures that move, by what the removed images matter."""
    found = []
    for removed in removals:
        effect = truth()[:, list(removed)].sum(1)
        pictures = effect[:, None, None, None].expand(-1, 1, 2, 2)
        found.append(After({"planted": 2 + effect}, {"planted": pictures}))
    return found


def outcome(name, values):
    return Outcome(name, {"planted": Scores(values)})


@pytest.fixture(scope="module")
def rows():
    task = replace(small_task(), without=without)
    outcomes = [outcome("oracle", truth()), outcome("opposite", -truth()), Outcome("failed")]
    return {(r.method, r.metric): r for r in removal_rows(task, outcomes, REMOVAL)}


def test_an_oracle_removes_what_matters(rows):
    assert rows["oracle", "removal-rise@3"].value == pytest.approx(0.3 / 2)
    assert rows["oracle", "removal-picture@3"].value == pytest.approx(2 * 0.3)
    assert rows["oracle", "removal-hurts-more@3"].value > 0.9


def test_removing_what_does_not_matter_changes_nothing(rows):
    assert rows["opposite", "removal-rise@3"].value == pytest.approx(0)
    assert rows["opposite", "removal-picture@3"].value == pytest.approx(0)
    assert rows["opposite", "removal-hurts-more@3"].value < 0.5


def test_random_removal_is_the_mean_over_its_sets(rows):
    matters = [truth()[HELD_BACK : HELD_BACK + 4, list(s)].sum(1) for s in REMOVAL.at_random(TRAIN)]
    assert rows[AT_RANDOM, "removal-rise@3"].value == pytest.approx(
        torch.stack(matters).mean().item() / 2
    )


def test_a_method_that_failed_has_no_row(rows):
    assert "failed" not in {method for method, _ in rows}


def test_each_set_is_retrained_without_once():
    asked = []

    def counting(removals):
        asked.extend(removals)
        return without(removals)

    task = replace(small_task(), without=counting)
    outcomes = [outcome("one", truth()), outcome("same", 2 * truth())]
    removal_rows(task, outcomes, REMOVAL)
    assert len(asked) == len(set(asked)) == 1 + REMOVAL.repeats + REMOVAL.queries


def test_effects_are_means_over_seeds():
    """What matters in the second training is what does not in the first, twice as much."""

    def by_seed(removals, seed=0):
        weights = 2 * (0.1 - truth()) if seed else truth()
        found = []
        for removed in removals:
            rise = weights[:, list(removed)].sum(1)
            found.append(After({"planted": 2 + rise}, {}))
        return found

    task = replace(small_task(), without=by_seed)
    removal = replace(REMOVAL, seeds=2)
    rows = {
        (r.method, r.metric): r for r in removal_rows(task, [outcome("oracle", truth())], removal)
    }
    assert rows["oracle", "removal-rise@3"].value == pytest.approx((0.3 + 0.0) / 2 / 2)
    assert rows["oracle", "removal-hurts-more@3"].value == pytest.approx(0.5, abs=0.1)


def test_queries_that_no_model_drew_have_no_picture_rows():
    def losses_alone(removals):
        return [after._replace(pictures={}) for after in without(removals)]

    task = replace(small_task(), without=losses_alone)
    metrics = {row.metric for row in removal_rows(task, [outcome("oracle", truth())], REMOVAL)}
    assert metrics == {"removal-rise@3", "removal-hurts-more@3"}


def test_random_sets_are_of_the_size_asked_for():
    sets = Removal(k=4, repeats=6).at_random(20)
    assert all(len(set(one)) == 4 for one in sets)
    assert len(set(sets)) == 6


@pytest.mark.parametrize(
    ("removal", "message"),
    [
        (Removal(k=3, kind="absent"), "cannot retrain without images for 'absent' queries"),
        (Removal(k=TRAIN, queries=1, kind="planted"), "cannot remove 12 images for 1 queries"),
        (Removal(k=3, queries=6, kind="planted"), "5 reported planted queries"),
        (Removal(k=3, queries=4, kind="planted", seeds=0), "expected at least 1 seed, got 0"),
    ],
)
def test_what_cannot_be_removed_is_refused(removal, message):
    task = replace(small_task(), without=without)
    with pytest.raises(InputError, match=message):
        removal_rows(task, [outcome("oracle", truth())], removal)


def test_a_task_that_cannot_retrain_is_refused():
    with pytest.raises(InputError, match=r"Task\(without=...\)"):
        removal_rows(small_task(), [outcome("oracle", truth())], REMOVAL)
