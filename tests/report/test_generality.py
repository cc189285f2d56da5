import torch

from retrac_plugin import Scores
from retrac_plugin.report import Method
from retrac_plugin.report.generality import generality, generally_influential


def scored(leaders, train=100):
    """Scores by which each query's first proponents are the given images."""
    values = -torch.ones(len(leaders), train)
    for query, images in enumerate(leaders):
        for place, image in enumerate(images):
            values[query, image] = 10 - place
    return Method("a", Scores(values))


def test_are_those_in_the_first_places_of_more_than_half_of_the_queries():
    method = scored([[5, 1], [5, 2], [5, 1], [3, 4]])
    assert generality(method).named == {5: 3}  # 1 is in two of four: half, and not more


def test_an_image_that_no_query_has_for_a_proponent_is_none():
    assert generality(scored([[], [], []])).named == {}


def test_two_queries_are_too_few():
    assert generality(scored([[5], [5]])).named == {}


def test_of_a_small_training_set_fewer_places_are_looked_at():
    assert generality(scored([[0]] * 3, train=20)).places == 2
    assert generality(scored([[0]] * 3, train=21)).places == 3
    assert generality(scored([[0]] * 3, train=1000)).places == 10


def test_a_group_says_by_which_method_and_how_often():
    group = generally_influential([scored([[5], [5], [6]]), Method("b", scored([[5]] * 3).scores)])
    assert group.members == [(5, "a: 2 of 3 queries; b: 3 of 3 queries")]
    assert generally_influential([scored([[1], [2], [3]])]) is None
