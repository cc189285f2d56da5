"""The metrics that compare scores with retraining."""

import math

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.counterfactual import image_change, removal_of
from retrac_plugin.metrics.lds import lds, lds_of_queries, one_retraining
from retrac_plugin.metrics.leave_one_out import continued, leave_one_out
from tests.metrics import planted

stats = pytest.importorskip("scipy.stats")
QUERIES, TRAIN, SUBSETS = 40, 60, 50


def halves(seed=0, count=SUBSETS):
    generator = torch.Generator().manual_seed(seed)
    members = torch.zeros(count, TRAIN, dtype=torch.bool)
    for row in members:
        row[torch.randperm(TRAIN, generator=generator)[: TRAIN // 2]] = True
    return members


def retrained(noise, seeds=2):
    """A world where losses really are minus sums of influences, plus noise of the seed."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(QUERIES, TRAIN, generator=generator).double()
    subsets = halves()
    signal = -(subsets.double() @ truth.T)
    jitter = torch.randn(seeds, SUBSETS, QUERIES, generator=generator).double()
    return truth, Evidence(subsets=subsets, subset_losses=signal + noise * jitter)


def test_lds_equals_scipy_on_random_scores():
    values, known = planted.scores(), planted.evidence()
    losses = known.subset_losses.mean(0)
    expected = [
        stats.spearmanr(
            [float(values[q][subset].sum()) for subset in known.subsets], -losses[:, q]
        ).statistic
        for q in range(planted.QUERIES)
    ]
    assert lds(values, known) == pytest.approx(sum(expected) / len(expected))


def test_lds_equals_dattri_on_random_scores():
    metric = pytest.importorskip("dattri.metric")
    values, known = planted.scores(), planted.evidence()
    losses = known.subset_losses.mean(0)
    indices = [subset.nonzero()[:, 0] for subset in known.subsets]
    width = min(map(len, indices))  # dattri wants subsets of one size
    indices = torch.stack([i[:width] for i in indices])
    subsets = torch.zeros_like(known.subsets).scatter(1, indices, True)
    theirs, _ = metric.lds(values.T, (-losses, indices))
    ours = lds_of_queries(values, Evidence(subsets=subsets, subset_losses=losses[None]))
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=1e-6)


def test_a_perfect_oracle_scores_one_without_noise():
    truth, known = retrained(noise=0)
    assert lds(truth, known) == pytest.approx(1)
    assert one_retraining(known).mean().item() == pytest.approx(1)


def test_the_negated_oracle_scores_minus_one():
    truth, known = retrained(noise=0)
    assert lds(-truth, known) == pytest.approx(-1)


def test_with_noise_the_oracle_reaches_the_ceiling_and_random_scores_do_not():
    truth, known = retrained(noise=5)
    ceiling = one_retraining(known).mean().item()
    random = torch.randn(truth.shape, generator=torch.Generator().manual_seed(9))
    assert 0.2 < ceiling < 0.8
    assert lds(truth, known) >= ceiling
    assert abs(lds(random, known)) < 3 / math.sqrt(QUERIES * SUBSETS)


def test_an_oracle_of_one_seed_scores_the_ceiling_against_the_other():
    """Scores that predict one retraining exactly are worth one retraining, no more."""
    _, known = retrained(noise=5)
    first, second = known.subset_losses
    generator = torch.Generator().manual_seed(0)
    square = torch.rand(SUBSETS, SUBSETS, generator=generator).double()
    scores = torch.linalg.solve(square, -first).T  # so that scores @ square.T = -first
    other = Evidence(subsets=square, subset_losses=second[None])
    assert lds(scores, other) == pytest.approx(one_retraining(known).mean().item())


def test_pure_noise_has_a_ceiling_of_about_zero():
    _, known = retrained(noise=1e6)
    assert abs(one_retraining(known).mean().item()) < 3 / math.sqrt(QUERIES * SUBSETS)


def test_the_ceiling_leaves_out_subsets_that_a_seed_lacks():
    _, known = retrained(noise=5)
    losses = known.subset_losses.clone()
    losses[1, 20:] = torch.nan
    partly = Evidence(subsets=known.subsets, subset_losses=losses)
    whole = Evidence(subsets=known.subsets[:20], subset_losses=known.subset_losses[:, :20])
    torch.testing.assert_close(one_retraining(partly), one_retraining(whole))
    assert math.isfinite(lds(planted_scores(), partly))


def planted_scores():
    return torch.randn(QUERIES, TRAIN, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, 1 / 3])
def test_constant_scores_get_exactly_zero(constant):
    _, known = retrained(noise=1)
    assert lds(torch.full((QUERIES, TRAIN), constant), known) == 0.0
    left_out = Evidence(left_out=torch.arange(5), left_out_losses=torch.rand(2, 5, QUERIES))
    assert leave_one_out(torch.full((QUERIES, TRAIN), constant), left_out) == 0.0


def test_a_shift_or_a_scale_of_the_scores_does_not_matter():
    values, (_, known) = planted_scores().double(), retrained(noise=1)
    assert lds(values * 7 + 3, known) == pytest.approx(lds(values, known))


def test_rows_correlate_as_in_scipy_with_ties():
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randint(4, (5, 30), generator=generator).double() for _ in range(2))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(spearman_rows(first, second), torch.tensor(expected).double())


def test_leave_one_out_equals_scipy():
    values, known = planted.scores(), planted.evidence()
    expected = [
        stats.spearmanr(row[known.left_out], losses).statistic
        for row, losses in zip(values, known.left_out_losses.mean(0).T, strict=True)
    ]
    assert leave_one_out(values, known) == pytest.approx(sum(expected) / len(expected))


def test_leaving_out_of_a_continuation_equals_scipy():
    values, known = planted.scores(), planted.evidence()
    expected = [
        stats.spearmanr(row[known.continued], rises).statistic
        for row, rises in zip(values, known.continued_changes.T, strict=True)
    ]
    assert continued(values, known) == pytest.approx(sum(expected) / len(expected))


def test_leave_one_out_of_an_oracle_is_one():
    values = planted_scores()
    losses = values[:, :10].T[None]  # without a proponent the loss is higher
    assert leave_one_out(
        values, Evidence(left_out=torch.arange(10), left_out_losses=losses)
    ) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subset_losses": torch.full((2, SUBSETS, QUERIES), torch.nan)}, "subset 0 was retrained"),
        ({"subset_losses": torch.zeros(2, 3, QUERIES)}, "expected shape"),
    ],
)
def test_lds_refuses_losses_that_do_not_fit(change, message):
    _, known = retrained(noise=1)
    with pytest.raises(InputError, match=message):
        lds(planted_scores(), Evidence(**{**vars(known), **change}))


def test_a_ceiling_needs_two_seeds():
    _, known = retrained(noise=1, seeds=1)
    with pytest.raises(InputError, match="with at least 2 seeds, got 50 with 1"):
        one_retraining(known)


def test_leave_one_out_refuses_positions_outside_the_training_set():
    known = Evidence(left_out=torch.tensor([0, TRAIN]), left_out_losses=torch.rand(1, 2, QUERIES))
    with pytest.raises(InputError, match="expected positions from 0 to 59, got 60"):
        leave_one_out(planted_scores(), known)


def test_removal_is_summarised_by_hand():
    full, top = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0])
    random = torch.tensor([[1.0, 2.0], [1.5, 3.0]])
    found = removal_of(full, top, random)
    assert found.rise == pytest.approx(0.5)
    assert found.random_rise == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)
    assert found.hurt_more == pytest.approx((1 + 0.5 + 1 + 0) / 4)


def test_removal_refuses_losses_that_do_not_fit():
    with pytest.raises(InputError, match=r"\[repeat, query\]"):
        removal_of(torch.ones(2), torch.ones(2), torch.ones(2))
    with pytest.raises(InputError, match="finite"):
        removal_of(torch.ones(2), torch.tensor([1.0, torch.nan]), torch.ones(1, 2))


def test_image_change_is_the_euclidean_distance():
    before, after = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    assert image_change(before, after).tolist() == [2.0, 2.0]
    with pytest.raises(InputError, match="one shape"):
        image_change(before, after[:1])


def test_evidence_of_some_queries_is_that_of_their_rows():
    values, known = planted.scores(), planted.evidence()
    rows = torch.tensor([4, 1, 4])
    some = known.of_queries(rows)
    torch.testing.assert_close(
        lds_of_queries(values[rows], some), lds_of_queries(values, known)[rows]
    )
    assert some.query_labels.equal(known.query_labels[rows])
    assert some.gradient_norms is known.gradient_norms
