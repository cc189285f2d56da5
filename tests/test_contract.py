"""What every registered attributor keeps, whoever brings it."""

from dataclasses import replace

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.extras import missing
from tests.small import small_case

QUERY_BLIND = {"training-loss"}  # a control that scores every query alike
CHEAP = {
    "captum-arnoldi-if": {"arnoldi_dim": 4, "projection_dim": 2},
    "dattri-if-arnoldi": {"max_iter": 5},
    "dattri-if-cg": {"max_iter": 2},
    "dattri-if-lissa": {"recursion_depth": 2},
    "kronfluence-ekfac-stratified": {"strata": 3},
    "dattri-trak": {"proj_dim": 64},
    "dattri-dtrak": {"proj_dim": 64},
    "captum-similarity": {"layers": ["leave"]},
}
"""Settings that cost little: no claim here depends on them."""
CLOSE = {"rtol": 1e-7, "atol": 1e-10}


@pytest.fixture(scope="module")
def case():
    """Of a small network: every method is called a dozen times."""
    found = small_case()
    return replace(found, train=torch.stack(found.train), queries=torch.stack(found.queries))


@pytest.fixture(params=plugins.attributors(), scope="module")
def make(request, case):
    """How to build one registered attributor for the case."""
    entry = plugins.attributors()[request.param][0]
    if missing(entry.needs):
        pytest.skip(f"{entry.name} needs {', '.join(missing(entry.needs))}")
    attributor = entry.load()
    if hasattr(attributor, "refusal"):
        pytest.skip(f"{entry.name} says why it cannot: {attributor.refusal}")

    def build(**options):
        options = {
            "train_draws": retrac.Uniform(1, seed=1),
            "query_draws": retrac.Strided(2, noise_draws=2, seed=2),
            "batch_size": 28,
            "device": "cpu",
            "progress": False,
            **CHEAP.get(entry.name, {}),
            **options,
        }
        return attributor(case.model, case.checkpoints, **options)

    return build


@pytest.fixture(scope="module")
def scores(make, case):
    return make().attribute(case.train, case.queries)


def test_scores_are_finite_and_query_by_train(scores, case):
    assert scores.values.shape == (len(case.queries), len(case.train))
    assert scores.values.isfinite().all()


def test_scores_depend_on_query_and_train_sample(request, scores):
    blind = request.node.callspec.params["make"] in QUERY_BLIND
    assert blind or scores.values.std(0).min() > 0
    assert scores.values.std(1).min() > 0


def test_proponents_and_opponents_are_the_sorted_scores(scores):
    order = scores.values.argsort(dim=1, descending=True, stable=True)
    assert scores.proponents(3).indices.equal(order[:, :3])
    assert scores.opponents(3).indices.equal(order.flip(1)[:, :3])


def test_another_one_gives_the_same_scores(make, scores, case):
    again = make().attribute(case.train, case.queries)
    torch.testing.assert_close(again.values, scores.values, **CLOSE)


def test_batch_size_changes_no_score(make, scores, case):
    other = make(batch_size=12).attribute(case.train, case.queries)
    torch.testing.assert_close(other.values, scores.values, **CLOSE)


def test_the_order_of_queries_is_the_order_of_rows(make, scores, case):
    flipped = make().attribute(case.train, case.queries.flip(0))
    torch.testing.assert_close(flipped.values.flip(0), scores.values, **CLOSE)


def test_the_model_is_left_as_it_was(make, case):
    before = {name: value.clone() for name, value in case.model.network.state_dict().items()}
    make().attribute(case.train, case.queries)
    after = case.model.network.state_dict()
    assert all(after[name].equal(value) for name, value in before.items())
    assert not any(parameter.grad is not None for parameter in case.model.network.parameters())
    assert not case.model.network.training
