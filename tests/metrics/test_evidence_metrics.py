"""Class agreement, minority share, image tracing, norm bias."""

import builtins
import math

import pytest
import torch
from scipy.stats import spearmanr

from retrac_plugin.errors import InputError, MissingDependencyError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.class_agreement import class_agreement
from retrac_plugin.metrics.minority_share import minority_share
from retrac_plugin.metrics.norm_bias import norm_bias, norm_bias_of_size
from retrac_plugin.metrics.tracing import hit, mean_reciprocal_rank
from tests.metrics import planted

VALUES = planted.scores()
KNOWN = planted.evidence()
CONSTANT = torch.zeros_like(VALUES)


def test_class_agreement_equals_the_plain_loop():
    shares = [
        sum(KNOWN.train_labels[i] == label for i in top) / 10
        for top, label in zip(planted.top_lists(VALUES, 10), KNOWN.query_labels, strict=True)
    ]
    assert class_agreement(VALUES, KNOWN, 10) == pytest.approx(float(sum(shares)) / len(shares))


def test_class_agreement_of_equal_scores_is_the_base_rate():
    same = KNOWN.query_labels[:, None] == KNOWN.train_labels
    assert class_agreement(CONSTANT, KNOWN, 10) == pytest.approx(same.double().mean().item())


def test_class_agreement_of_an_oracle_is_one():
    labels = torch.arange(3)
    known = Evidence(train_labels=labels.repeat(5), query_labels=labels)
    assert class_agreement((labels[:, None] == known.train_labels).float(), known, 5) == 1


def test_minority_share_equals_the_plain_loop():
    tops = planted.top_lists(VALUES, 10)
    ordinary = [top for query, top in enumerate(tops) if not KNOWN.query_is_minority[query]]
    share = sum(i % 5 == 0 for top in ordinary for i in top) / (10 * len(ordinary))
    assert minority_share(VALUES, KNOWN, 10) == pytest.approx(share)


def test_minority_share_of_equal_scores_is_the_base_rate():
    assert minority_share(CONSTANT, KNOWN, 10) == pytest.approx(8 / 40)


def test_minority_share_needs_an_ordinary_query():
    known = Evidence(
        train_is_minority=KNOWN.train_is_minority,
        query_is_minority=torch.ones(planted.QUERIES, dtype=torch.bool),
    )
    with pytest.raises(InputError, match="majority, got none among 6"):
        minority_share(VALUES, known, 10)


def test_tracing_equals_the_plain_loop():
    own = KNOWN.query_train_index.tolist()
    ranks = [
        1 + sum(other > row[i] for other in row)
        for row, i in zip(VALUES.tolist(), own, strict=True)
    ]
    assert hit(VALUES, KNOWN, 1) == sum(rank <= 1 for rank in ranks) / len(ranks)
    assert hit(VALUES, KNOWN, 10) == pytest.approx(sum(rank <= 10 for rank in ranks) / len(ranks))
    reciprocal = sum(1 / rank for rank in ranks) / len(ranks)
    assert mean_reciprocal_rank(VALUES, KNOWN) == pytest.approx(reciprocal)


def test_tracing_of_an_oracle_is_one():
    oracle = torch.nn.functional.one_hot(KNOWN.query_train_index, planted.TRAIN).float()
    assert hit(oracle, KNOWN, 1) == hit(oracle, KNOWN, 10) == 1
    assert mean_reciprocal_rank(oracle, KNOWN) == 1


def test_tracing_of_equal_scores_is_guessing():
    assert hit(CONSTANT, KNOWN, 10) == pytest.approx(10 / 40)
    harmonic_mean = sum(1 / rank for rank in range(1, 41)) / 40
    assert mean_reciprocal_rank(CONSTANT, KNOWN) == pytest.approx(harmonic_mean)


def test_a_tie_below_the_best_shares_its_ranks():
    values = torch.tensor([[5.0, 1.0, 1.0, 0.0]])
    known = Evidence(query_train_index=torch.tensor([1]))
    assert mean_reciprocal_rank(values, known) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert hit(values, known, 2) == 0.5


@pytest.mark.parametrize("outside", [-1, 40])
def test_tracing_refuses_positions_outside_the_training_set(outside):
    known = Evidence(query_train_index=torch.full((planted.QUERIES,), outside))
    with pytest.raises(InputError, match=f"from 0 to 39, got {outside}"):
        hit(VALUES, known, 1)


def test_norm_bias_equals_scipy_per_query():
    norms = KNOWN.gradient_norms.mean(0)
    signed = [spearmanr(norms, row).statistic for row in VALUES]
    sizes = [spearmanr(norms, row.abs()).statistic for row in VALUES]
    assert norm_bias(VALUES, KNOWN) == pytest.approx(sum(signed) / len(signed))
    assert norm_bias_of_size(VALUES, KNOWN) == pytest.approx(sum(sizes) / len(sizes))


def test_norm_bias_of_planted_orders():
    norms = KNOWN.gradient_norms.mean(0)
    alternating = norms * torch.tensor([1.0, -1.0]).repeat(3)[:, None]
    assert norm_bias(norms.expand(6, -1) ** 3, KNOWN) == pytest.approx(1)
    assert norm_bias(alternating, KNOWN) == pytest.approx(0)
    assert norm_bias_of_size(alternating, KNOWN) == pytest.approx(1)


def test_norm_bias_is_undefined_without_an_order():
    assert math.isnan(norm_bias(CONSTANT, KNOWN))
    one_row_constant = VALUES.clone()
    one_row_constant[3] = 1
    assert math.isnan(norm_bias(one_row_constant, KNOWN))
    assert math.isnan(norm_bias(VALUES, Evidence(gradient_norms=torch.ones(2, planted.TRAIN))))


def test_norm_bias_says_what_to_install(monkeypatch):
    really_import = builtins.__import__

    def without_scipy(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return really_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(MissingDependencyError, match=r"pip install 'retrac-plugin\[metrics\]'"):
        norm_bias(VALUES, KNOWN)
