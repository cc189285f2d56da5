import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.errors import InputError
from retrac_plugin.report import of_scores
from retrac_plugin.report.of_scores import report_of, report_of_selves

TRAIN, QUERIES = 200, 5


def pictures(count):
    return torch.zeros(count, 1, 4, 4)


def scores(seed=0, train=TRAIN, **about):
    generator = torch.Generator().manual_seed(seed)
    return Scores(torch.randn(QUERIES, train, generator=generator), about=about)


def report(*methods, **more):
    return report_of(methods, pictures(TRAIN), pictures(QUERIES), **more)


def test_what_methods_have_in_common_is_said_once():
    made = report(scores(method="a", draws=4, p=[1, 2.5]), scores(method="b", draws=4, p=[1]))
    assert [method.name for method in made.methods] == ["a", "b"]
    assert made.configuration == {"draws": "4", "p": "a: 1, 2.5; b: 1"}


def test_lists_fifty_or_what_was_asked_for_or_all():
    assert report(scores()).k == 50
    assert report(scores(), top=60).k == 60
    few = Scores(torch.randn(2, 7))
    assert report_of([few], pictures(7), pictures(2)).k == 7


def test_lists_are_cut_where_a_page_would_hold_too_many_images(monkeypatch):
    assert report(scores()).k == 50
    monkeypatch.setattr(of_scores, "MOST_LISTED", 150)
    assert report(scores()).k < 50
    assert report(scores(), top=60).k == 60


def test_scores_of_different_pictures_make_no_page():
    one = Scores(torch.zeros(1, 2), train_names=("a", "b"))
    other = Scores(torch.zeros(1, 2), train_names=("b", "a"))
    with pytest.raises(InputError, match="different pictures"):
        report_of([one, other], pictures(2), pictures(1))


def test_scores_that_do_not_fit_the_pictures_make_no_page():
    with pytest.raises(InputError, match=r"expected scores of shape \[5, 200\], got \[5, 199\]"):
        report(scores(train=199))


def test_the_curators_report_has_outliers_and_the_duplicates_among_them():
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[3] = images[0]
    made = report_of_selves(
        torch.tensor([4.0, 1.0, 2.0, 3.0]), images, ("a", "b", "c", "d"), about={"method": "m"}
    )
    assert [(group.name, [i for i, _ in group.members]) for group in made.groups] == [
        ("Outliers", [0, 3, 2, 1]),
        ("Near-duplicates", [0, 3]),
    ]


def test_images_without_names_are_told_apart_by_their_numbers():
    made = report_of_selves(torch.ones(2), torch.zeros(2, 1, 8, 8), (), about={})
    assert made.groups[1].members == [(0, "like #1"), (1, "like #0")]
