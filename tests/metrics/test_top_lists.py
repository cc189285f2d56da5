"""Specificity, generally influential samples, hubness."""

import math

import pytest
import torch
from scipy.stats import skew

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.generally_influential import shared_by_half, shared_by_two
from retrac_plugin.metrics.hubness import hubness
from retrac_plugin.metrics.specificity import specificity
from tests.metrics import planted

NONE = Evidence()


@pytest.mark.parametrize("k", [1, 5, 20])
def test_equal_the_plain_loops(k):
    values = planted.scores()
    counts = planted.counts(values, k)
    union = set.union(*planted.top_lists(values, k))
    assert specificity(values, NONE, k) == pytest.approx(len(union) / (planted.QUERIES * k))
    assert shared_by_two(values, NONE, k) == sum(count >= 2 for count in counts)
    assert shared_by_half(values, NONE, k) == sum(count >= 3 for count in counts)
    assert hubness(values, NONE, k) == pytest.approx(skew(counts))


def test_every_query_its_own_answer_is_most_specific():
    values = torch.eye(4)
    assert specificity(values, NONE, 1) == 1
    assert shared_by_two(values, NONE, 1) == 0
    assert hubness(values, NONE, 1) == 0  # each sample in exactly one list


def test_one_answer_for_all_queries_is_least_specific():
    values = torch.arange(8.0).expand(4, 8)
    assert specificity(values, NONE, 2) == 1 / 4
    assert shared_by_two(values, NONE, 2) == shared_by_half(values, NONE, 2) == 2
    assert hubness(values, NONE, 2) == pytest.approx(skew([0, 0, 0, 0, 0, 0, 4, 4]))


def test_equal_scores_look_as_bad_as_one_answer_for_all():
    constant, one_answer = torch.zeros(4, 8), torch.arange(8.0).expand(4, 8)
    for metric in (specificity, shared_by_two, shared_by_half, hubness):
        assert metric(constant, NONE, 2) == pytest.approx(metric(one_answer, NONE, 2))


def test_half_of_an_odd_number_is_rounded_up():
    values = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    assert shared_by_half(values, NONE, 1) == 1  # 3 of 5; 2 of 5 is less than half


def test_the_whole_set_has_no_hubs():
    assert hubness(planted.scores(), NONE, planted.TRAIN) == 0


def test_hubness_is_finite_for_many_queries_and_ties():
    assert math.isfinite(hubness(torch.zeros(200, 300), NONE, 7))


@pytest.mark.parametrize(("metric", "queries"), [(shared_by_two, 1), (shared_by_half, 2)])
def test_generally_influential_needs_queries(metric, queries):
    with pytest.raises(InputError, match=f"2 or more queries.*got {queries}"):
        metric(torch.eye(queries), NONE, 1)
