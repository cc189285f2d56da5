"""Bootstrap intervals over queries."""

import math

import pytest
import torch

from retrac_plugin.benchmarks.interval import RECOMPUTED, measured
from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.specificity import specificity

NOTHING = Evidence()


def scores(queries=30, train=200, seed=0):
    return torch.randn(queries, train, generator=torch.Generator().manual_seed(seed)).double()


def mean(values, evidence):
    return values.mean().item()


def test_a_mean_gets_the_percentiles_of_its_resampled_means():
    values = scores()
    found = measured(mean, values, NOTHING)
    error = values.mean(1).std(unbiased=False).item() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean().item())
    assert found.high - found.value == pytest.approx(1.96 * error, rel=0.1)
    assert found.value - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_parts_of_a_mean_give_what_computing_it_anew_gives():
    values, calls = scores(), []

    def refusing_single_queries(rows, evidence):
        calls.append(len(rows))
        if len(rows) == 1:
            raise InputError("one query alone says nothing")
        return mean(rows, evidence)

    anew, parts = (measured(m, values, NOTHING) for m in (refusing_single_queries, mean))
    assert anew.value == parts.value
    assert anew.high - anew.low == pytest.approx(parts.high - parts.low, rel=0.3)
    assert calls.count(len(values)) == RECOMPUTED + 1


def test_repeated_queries_do_not_bias_the_interval_of_specificity():
    values = scores()
    found = measured(lambda v, e: specificity(v, e, k=5), values, NOTHING)
    assert found.value == pytest.approx(specificity(values, NOTHING, 5))
    assert found.low < found.value < found.high


def test_about_95_of_100_intervals_hold_the_true_mean():
    held = 0
    for seed in range(100):
        found = measured(mean, scores(queries=40, train=3, seed=seed), NOTHING)
        held += found.low <= 0 <= found.high
    assert 88 <= held <= 99


def test_a_metric_that_does_not_vary_has_an_interval_of_no_width():
    found = measured(lambda values, evidence: 0.25, scores(), NOTHING)
    assert found == (0.25, 0.25, 0.25)


def test_an_undefined_metric_has_no_interval():
    found = measured(lambda values, evidence: math.nan, scores(), NOTHING)
    assert all(math.isnan(number) for number in found)


def test_evidence_is_resampled_with_the_queries():
    values = scores(queries=6, train=4)
    labels = torch.arange(6)

    def agreement(rows, evidence):
        return float((rows[:, 0] == values[evidence.query_labels, 0]).double().mean())

    assert measured(agreement, values, Evidence(query_labels=labels)) == (1.0, 1.0, 1.0)


def test_the_seed_decides():
    first, again, other = (measured(mean, scores(), NOTHING, seed=s) for s in (0, 0, 1))
    assert first == again != other
