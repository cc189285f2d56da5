import pytest

from retrac_plugin.metrics import ENTRIES, Evidence
from retrac_plugin.report import measured
from retrac_plugin.report.cautions import caution
from tests.report import sample

BY_NAME = {entry.name: entry for entry in ENTRIES}


def test_holds_every_method_and_the_chance_level():
    methods = sample.report().methods
    (row,) = measured([BY_NAME["specificity@10"]], methods, Evidence())
    metric = BY_NAME["specificity@10"].load()
    assert row.values == tuple(metric(method.scores.values, Evidence()) for method in methods)
    assert 1 / 3 < row.chance < 1
    assert row.higher_is_better is True
    assert row.meaning == BY_NAME["specificity@10"].summary


def test_repeats_itself():
    ask = ([BY_NAME["hubness@10"]], sample.report().methods, Evidence())
    assert measured(*ask) == measured(*ask)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_metric_of_ours_has_a_caution(entry):
    assert caution(entry.name).endswith(".")


def test_a_metric_of_others_has_none():
    assert caution("theirs@5") == ""
