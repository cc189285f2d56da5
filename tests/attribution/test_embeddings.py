"""Vectors whose inner products are scores."""

import dataclasses

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.attribution.embeddings import query_embeddings, train_embeddings
from retrac_plugin.errors import GradientError, InputError
from tests.small import small_case

METHODS = [retrac.DiffusionTracIn, retrac.DiffusionReTrac]
EXACT = {"rtol": 1e-10, "atol": 1e-14}

both_methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def attributor(method, case, **options):
    draws = {"train_draws": retrac.Uniform(1), "query_draws": retrac.Strided(2)}
    return method(case.model, case.checkpoints, **draws, **options)


@both_methods
@pytest.mark.parametrize("batch_size", [2, 64])
def test_inner_products_are_scores(method, batch_size):
    case = small_case()
    ours = attributor(method, case, batch_size=batch_size)
    products = query_embeddings(ours, case.queries) @ train_embeddings(ours, case.train).T
    torch.testing.assert_close(products, ours.attribute(case.train, case.queries).values, **EXACT)


@both_methods
def test_their_length_is_parameters_times_checkpoints(method):
    case = small_case(checkpoints=3)
    parameters = sum(p.numel() for p in case.network.parameters())
    assert train_embeddings(attributor(method, case), case.train).shape == (7, 3 * parameters)


@both_methods
def test_aggregate_is_the_sum(method):
    case = small_case()
    ours = attributor(method, case, batch_size=4)
    for embed, examples in ((train_embeddings, case.train), (query_embeddings, case.queries)):
        expected = embed(ours, examples).sum(0, keepdim=True)
        torch.testing.assert_close(embed(ours, examples, aggregate=True), expected, **EXACT)


def test_a_negative_step_size_has_no_root():
    case = small_case()
    case.checkpoints[1] = dataclasses.replace(case.checkpoints[1], step_size=-0.1)
    with pytest.raises(InputError, match=r"step size is -0\.1: .* expected step sizes of 0 or"):
        train_embeddings(attributor(retrac.DiffusionTracIn, case), case.train)


def test_an_infinite_loss_names_the_sample():
    case = small_case()
    case.train[5] = torch.full((1, 4, 4), torch.inf, dtype=torch.float64)
    with pytest.raises(GradientError, match="train sample 5 is not finite"):
        train_embeddings(attributor(retrac.DiffusionTracIn, case), case.train)
