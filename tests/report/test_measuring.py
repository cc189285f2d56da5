from retrac_plugin.metrics import ENTRIES, Evidence
from retrac_plugin.report import measured
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


def test_a_metric_s_caution_stands_beside_its_figures():
    entry = BY_NAME["hubness@10"]
    (row,) = measured([entry], sample.report().methods, Evidence())
    assert row.caution == entry.caution != ""
