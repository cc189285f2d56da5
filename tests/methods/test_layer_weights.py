"""Learned weights of groups of layers."""

import copy

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch, Factored
from retrac_plugin.methods.das import DAS
from retrac_plugin.methods.first_order import GradientDot
from retrac_plugin.methods.journey import JourneyTRAK
from retrac_plugin.methods.layer_weights import LayerWeights, learn
from retrac_plugin.methods.setting import Gradients
from retrac_plugin.methods.timestep_kernels import ActivationKernel
from retrac_plugin.methods.trak import TRAK
from tests.small import small_case

DRAWS = retrac.Shared(3, seed=2)
LAYERS = LayerWeights(copies=4)
CLOSE = {"rtol": 1e-6, "atol": 1e-12}


@pytest.fixture(scope="module")
def case():
    return small_case()


def scores(kind, case, layers=LAYERS, **options):
    method = kind(case.model, case.checkpoints, query_draws=DRAWS, layers=layers, **options)
    return method.attribute(case.train, case.queries)


def planted(signals, copies=20, train=30):
    """Scores of groups of noise, their originals above it by so much."""
    noise = torch.randn(len(signals), copies, train, generator=torch.Generator().manual_seed(0))
    own = torch.arange(copies)
    for scores, signal in zip(noise, signals, strict=True):
        scores[own, own] += signal
    return noise, own


def test_the_group_that_finds_originals_gets_the_weight():
    found, own = planted([0.0, 5.0, 0.0])
    _, shares = learn(found, own)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 1
    assert shares[1] > 0.9


def test_groups_that_find_them_alike_share_it():
    """Of two that are as good, with noise of their own, both are better than one."""
    found, own = planted([4.0, 4.0, 0.0], copies=200, train=200)
    _, shares = learn(found, own)
    assert shares[:2].min() > 0.4


def test_a_groups_size_does_not_matter():
    found, own = planted([1.0, 3.0])
    factors, shares = learn(found, own)
    larger, same = learn(found * torch.tensor([100.0, 1.0])[:, None, None], own)
    torch.testing.assert_close(shares, same)
    torch.testing.assert_close(larger[0] * 100, factors[0])


def test_a_group_without_scores_adds_nothing():
    found, own = planted([2.0, 0.0])
    found[1] = 0
    factors, _ = learn(found, own)
    assert factors[1] == 0
    assert factors.isfinite().all()


def test_scores_are_the_weighted_sum_of_groups_alone(case):
    """Each group is the method with nothing else attributed."""
    found = scores(GradientDot, case)
    shares = found.about["learned"]
    assert list(shares) == ["enter", "time", "leave"]
    parts, sizes = [], []
    for group in shares:
        model = case.model.attributing(f"{group}.*")
        alone = GradientDot(model, case.checkpoints, query_draws=DRAWS)
        parts.append(alone.attribute(case.train, case.queries).values)
        copies = alone.attribute(case.train, LAYERS.disturbed(source(case.train), 4)).values
        sizes.append(copies.square().mean().sqrt())
    expected = sum(w * p / s for w, p, s in zip(shares.values(), parts, sizes, strict=True))
    torch.testing.assert_close(found.values, expected, **CLOSE)


def source(examples):
    from retrac_plugin.data.examples import ExampleSource

    return ExampleSource(examples, "train")


@pytest.mark.parametrize("kind", [TRAK, DAS, JourneyTRAK, ActivationKernel])
def test_every_method_on_features_takes_them(case, kind):
    found = scores(kind, case)
    assert found.values.isfinite().all()
    assert sum(found.about["learned"].values()) == pytest.approx(1)
    assert not torch.allclose(found.values, scores(kind, case, layers=None).values)


def test_copies_are_the_originals_disturbed_by_their_content(case):
    disturbed = LAYERS.disturbed(source(case.train), 2)
    assert len(disturbed) == 4
    assert LAYERS.chosen(7) == [0, 1, 3, 5]
    for place, one in zip(LAYERS.chosen(7), disturbed, strict=True):
        off = (one["sample"] - case.train[place]).std() / case.train[place].std()
        assert 0.15 < off < 0.45
    again = LAYERS.disturbed(source(case.train), 3)
    assert all(a["sample"].equal(b["sample"]) for a, b in zip(disturbed, again, strict=True))
    assert LayerWeights(copies=50).chosen(7) == [*range(7)]


def test_other_queries_change_no_score(case):
    few = copy.copy(case)
    few.queries = case.queries[:1]
    torch.testing.assert_close(scores(TRAK, few).values, scores(TRAK, case).values[:1], **CLOSE)


def test_what_cannot_be_kept_apart_is_refused(case):
    with pytest.raises(InputError, match="need a CountSketch of each group"):
        scores(TRAK, case, gradients=Gradients(projection=Factored()))
    scores(TRAK, case, gradients=Gradients(projection=CountSketch(64)))


@pytest.mark.parametrize("options", [{"copies": 0}, {"noise": -0.1}, {"noise": float("nan")}])
def test_settings_that_mean_nothing_are_refused(options):
    with pytest.raises(InputError, match="copies must be at least 1 and noise at least 0"):
        LayerWeights(**options)
