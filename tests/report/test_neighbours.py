import pytest

from retrac_plugin.report import Method
from retrac_plugin.report.neighbours import Standing, ends, legend, opponents, proponents
from tests.report import sample


def test_are_the_ends_of_the_scores_in_order():
    report = sample.report()
    method = report.methods[0]
    row = method.scores.values[1]
    order = row.argsort().tolist()
    assert [one.index for one in proponents(report, method, 1)] == order[::-1][: sample.K]
    assert [one.index for one in opponents(report, method, 1)] == order[: sample.K]
    assert [one.score for one in opponents(report, method, 1)] == row[order[: sample.K]].tolist()


def test_stand_as_their_class_and_minority_say():
    report = sample.report(k=sample.TRAIN)
    found = {one.index: one for one in proponents(report, report.methods[0], 0)}  # a cat's
    assert found[7].standing is Standing.MINORITY
    assert found[2].standing is Standing.PLAIN
    assert found[3].standing is Standing.OTHER_CLASS
    assert found[3].label == "dog"


def test_legend_holds_only_what_can_occur():
    whole = sample.report()
    assert legend(whole)[Standing.MINORITY] == "photo patch"
    assert set(legend(sample.report(query_labels=()))) == {Standing.MINORITY}
    assert legend(sample.report(query_labels=(), train_is_minority=None)) == {}


@pytest.mark.parametrize(
    ("sign", "names"),
    [(1, ("Proponents", "Lowest scores")), (-1, ("Highest scores", "Opponents"))],
)
def test_an_opponent_has_a_score_below_0_and_a_proponent_one_above(sign, names):
    values = sign * (sample.scores(1).values.abs() + 1)
    report = sample.report(methods=[Method("a", sample.Scores(values))], rows=())
    found = ends(report, report.methods[0], 0)
    assert tuple(end.name for end in found) == names
    assert all(len(end.neighbours) == sample.K for end in found)


def test_ends_hold_those_of_their_sign_alone():
    report = sample.report(k=sample.TRAIN)
    row = report.methods[0].scores.values[0]
    first, last = ends(report, report.methods[0], 0)
    assert len(first.neighbours) == int((row > 0).sum())
    assert [one.index for one in last.neighbours] == row.argsort()[: int((row < 0).sum())].tolist()
