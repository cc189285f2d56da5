"""What methods on features will take: counts and bytes; times are measured, never asserted."""

from dataclasses import replace

import pytest

import retrac_plugin as retrac
from retrac_plugin.attribution.estimate import HEADER_BYTES
from retrac_plugin.errors import InputError
from retrac_plugin.methods import estimating
from retrac_plugin.methods.estimating import estimate_features, together
from retrac_plugin.methods.journey import JourneyTRAK
from retrac_plugin.methods.timestep_kernels import LayeredKernel, RetracKernel, RetracRidge
from retrac_plugin.methods.trak import DTRAK, TRAK
from tests.small import small_case

CASE = small_case(train=7, queries=3, checkpoints=2)
DRAWS = retrac.Shared(3, seed=0)


def attributors(*kinds):
    return [kind(CASE.model, CASE.checkpoints, query_draws=DRAWS) for kind in kinds]


@pytest.fixture
def by_feature(monkeypatch):
    """Every feature takes the same, and what is timed is noted."""
    timed = []
    real = estimating._time

    def constant(feature, setting, train):
        timed.append(feature)
        return real(feature, setting, train)._replace(loading=0.5, train=0.25, query=0.125)

    monkeypatch.setattr(estimating, "_time", constant)
    monkeypatch.setattr(estimating, "_scoring", lambda *_: 2.0)
    return timed


def test_what_two_methods_share_is_counted_once(by_feature):
    alone = estimate_features(attributors(RetracKernel), CASE.train, 5)
    both = estimate_features(attributors(RetracKernel, RetracRidge), CASE.train, 5)
    assert len(by_feature) == 2
    assert (alone.loading, alone.queries) == (both.loading, both.queries) == (0.5, 5 * 0.125)
    assert alone.training == 7 * 0.25 + 2
    assert both.training == 7 * 0.25 + 4


def test_a_feature_that_differs_for_queries_alone_has_one_training_side(by_feature):
    cost = estimate_features(attributors(TRAK, JourneyTRAK), CASE.train, 5)
    assert cost.training == 7 * 0.25 + 4
    assert cost.queries == 2 * 5 * 0.125
    other = estimate_features(attributors(TRAK, DTRAK), CASE.train, 5)
    assert other.training == 2 * 7 * 0.25 + 4


def test_everything_grows_with_repeats(by_feature):
    once, thrice = (estimate_features(attributors(TRAK), CASE.train, 5, n) for n in (1, 3))
    assert thrice.loading == 3 * once.loading
    assert thrice.queries == 3 * once.queries
    assert thrice.training == 3 * once.training


def test_copies_for_layer_weights_are_queries_too(by_feature):
    plain, layered = (
        estimate_features(attributors(kind), CASE.train, 5)
        for kind in (RetracKernel, LayeredKernel)
    )
    assert plain.queries == 5 * 0.125
    assert layered.queries == (5 + 7) * 0.125


def test_bytes_are_counted():
    cost = estimate_features(attributors(RetracKernel), CASE.train, 5)
    assert cost.query_bytes == 5 * 3 * 512 * 8
    assert cost.scores == 5 * 7 * 4 + HEADER_BYTES
    assert cost.device_memory == 0
    kept = estimate_features(attributors(TRAK), CASE.train, 5)
    assert kept.scores == (5 * 7 + 7) * 4 + HEADER_BYTES


def test_a_matrix_of_all_pairs_is_counted():
    """4,000 images more take what their rows, their scores and the matrix take."""
    few, many = CASE.train, [CASE.train[i % 7] for i in range(4007)]
    small, large = (
        estimate_features(attributors(RetracKernel), train, 1).memory for train in (few, many)
    )
    rows, scores, matrix = 4000 * 3 * 512 * 8, 3 * 4000 * 4, 2 * 8 * 4007**2
    assert large - small > 0.9 * (rows + scores + matrix)


def test_parts_are_measured():
    cost = estimate_features(attributors(RetracKernel, LayeredKernel), CASE.train, 3)
    assert min(cost.loading, cost.queries, cost.training) > 0
    assert cost.memory > 10**7


def test_times_of_several_kinds_add_up_and_memory_does_not():
    first = estimate_features(attributors(TRAK), CASE.train, 3)
    second = replace(first, memory=first.memory + 5)
    both = together([first, second])
    assert both.seconds == pytest.approx(first.seconds + second.seconds)
    assert both.memory == second.memory
    assert both.scores == 2 * first.scores


def test_nothing_to_estimate_is_refused():
    with pytest.raises(InputError, match="at least one query, got 0 and 1"):
        estimate_features([], CASE.train, 1)
    with pytest.raises(InputError, match="got 1 and 0"):
        estimate_features(attributors(TRAK), CASE.train, 0)
