"""The training set changes around a store: samples are known by what they are."""

import pytest
import torch

from retrac_plugin import plugins
from retrac_plugin.errors import InputError
from retrac_plugin.progress import LINES, shown_as
from retrac_plugin.store.featurizing import Done
from tests.store.cases import ask, case, fill, method, shards

CASE = case(train=15)
FEW, ALL = CASE.train[:11], CASE.train
METHODS = ["tracincp", "trak", "retrac-ridge", "retrac-kernel"]


@pytest.mark.parametrize("name", METHODS)
def test_added_samples_are_computed_alone_and_removed_ones_leave_no_mark(name, tmp_path):
    attributor = method(name, CASE)
    fill(tmp_path / "grown", attributor, FEW)
    done = fill(tmp_path / "grown", attributor, ALL)
    kinds = len(attributor.needs())
    assert done == Done(computed=1 * kinds, found=3 * kinds)
    for train in (ALL, FEW, ALL[4:], ALL[::-1]):
        fill(tmp_path / f"fresh{len(train)}{train is ALL}", attributor, train)
        fresh = ask(tmp_path / f"fresh{len(train)}{train is ALL}", attributor, train, CASE.queries)
        grown = ask(tmp_path / "grown", attributor, train, CASE.queries)
        torch.testing.assert_close(grown.values, fresh.values, rtol=1e-4, atol=1e-6)


def test_permuting_the_training_set_permutes_the_scores_and_computes_nothing(tmp_path):
    attributor = method("tracincp", CASE)
    fill(tmp_path, attributor, ALL)
    order = torch.randperm(len(ALL), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = [ALL[i] for i in order]
    assert fill(tmp_path, attributor, shuffled).computed == 0
    whole = ask(tmp_path, attributor, ALL, CASE.queries).values
    assert torch.equal(ask(tmp_path, attributor, shuffled, CASE.queries).values, whole[:, order])


def test_rows_of_checkpoints_that_came_at_different_times_are_put_together(tmp_path):
    kind = plugins.get_attributor("tracincp")
    fill(tmp_path, kind(CASE.model, CASE.checkpoints[:1], progress=False), FEW[::-1])
    attributor = method("tracincp", CASE)
    fill(tmp_path, attributor, ALL)
    found = ask(tmp_path, attributor, ALL, CASE.queries).values
    expected = attributor.attribute(ALL, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_a_sample_that_is_there_twice_has_one_row_and_the_same_score_twice(tmp_path):
    attributor = method("trak", CASE)
    doubled = [*FEW, FEW[2]]
    fill(tmp_path, attributor, doubled)
    assert sum(1 for _ in shards(tmp_path)) == 3
    found = ask(tmp_path, attributor, doubled, CASE.queries).values
    expected = attributor.attribute(doubled, CASE.queries).values
    assert torch.equal(found[:, 2], found[:, 11])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_sample_without_a_row_is_an_error_that_says_how_many(tmp_path):
    attributor = method("trak", CASE)
    fill(tmp_path, attributor, FEW)
    with pytest.raises(InputError, match=r"4 of 15 training samples have no rows .* number 11"):
        ask(tmp_path, attributor, ALL, CASE.queries)


def test_a_shard_that_was_never_computed_is_no_hindrance_when_its_samples_are_gone(tmp_path):
    attributor = method("trak", CASE)
    fill(tmp_path, attributor, FEW, share=(0, 2))  # the second of three shards is left to another
    assert len(shards(tmp_path)) == 2
    left = [*FEW[:5], *FEW[7:]]  # two of its four samples are gone
    assert fill(tmp_path, attributor, left).computed == 1
    found = ask(tmp_path, attributor, left, CASE.queries).values
    expected = attributor.attribute(left, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_conditions_are_part_of_what_a_sample_is(tmp_path):
    given = case(classes=3)
    attributor = method("trak", given)
    fill(tmp_path, attributor, given.train)
    other = [
        {**example, "class_labels": (example["class_labels"] + 1) % 3} for example in given.train
    ]
    with pytest.raises(InputError, match="11 of 11 training samples have no rows"):
        ask(tmp_path, attributor, other, given.queries)


def test_a_loader_fills_the_store_that_its_dataset_fills(tmp_path):
    attributor = method("trak", CASE)
    loader = torch.utils.data.DataLoader(ALL, batch_size=3)
    fill(tmp_path / "loader", attributor, loader)
    fill(tmp_path / "dataset", attributor, ALL)
    assert [p.name for p in shards(tmp_path / "loader")] == [
        p.name for p in shards(tmp_path / "dataset")
    ]
    found = ask(tmp_path / "loader", attributor, loader, CASE.queries).values
    expected = ask(tmp_path / "dataset", attributor, ALL, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_every_image_of_the_training_set_is_counted_once_whatever_lies_in_the_shards(
    tmp_path, capsys
):
    """Equal images share a row, and those that are gone lie on beside the others."""
    given = case(train=10)
    attributor = plugins.get_attributor("tracincp")(given.model, given.checkpoints)
    again = [*given.train, given.train[2], given.train[2]]
    for train in (again, given.train[5:]):
        with shown_as(LINES):
            fill(tmp_path, attributor, train)
        total = len(train) * len(given.checkpoints)
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"featurizing: {total} of {total} after")
