"""The scores that Captum's users rely on in TracInCP, kept by both classes in both modes."""

import inspect

import pytest
import torch
from captum.influence import DataInfluence, TracInCP, TracInCPBase
from captum.influence._utils import common

from retrac_plugin.frameworks.captum import DiffusionTracInCP
from tests.frameworks.captum_cases import CORES, EXACT


@pytest.mark.parametrize("kind", CORES)
def test_arguments_are_those_of_captum_and_then_ours_by_keyword(kind):
    theirs = list(inspect.signature(TracInCP).parameters.values())
    mine = list(inspect.signature(kind).parameters.values())
    assert [p.name for p in mine[: len(theirs)]] == [p.name for p in theirs]
    assert [p.default for p in mine[: len(theirs)]] == [p.default for p in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in mine[len(theirs) :])


@pytest.mark.parametrize("method", ["influence", "self_influence"])
def test_methods_take_what_captum_s_take(method):
    theirs = list(inspect.signature(getattr(TracInCP, method)).parameters.values())
    mine = list(inspect.signature(getattr(DiffusionTracInCP, method)).parameters.values())
    taken = [(p.name, p.default) for p in mine[: len(theirs)]]
    assert taken == [(p.name, p.default) for p in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in mine[len(theirs) :])


def test_they_are_captum_s_kind(ours):
    assert isinstance(ours, (TracInCP, TracInCPBase, DataInfluence))
    assert ours.get_name() == type(ours).__name__


def test_scores_are_queries_by_training_samples(ours, setting):
    scores = ours.influence(setting.queries)
    assert scores.shape == (3, 7)
    assert scores.dtype == torch.float64
    assert scores.std(0).min() > 0 < scores.std(1).min()


@pytest.mark.parametrize("proponents", [True, False])
@pytest.mark.parametrize(("batch_size", "k"), [(3, 2), (2, 3), (7, 20)])
def test_the_k_most_influential_are_the_sorted_scores(ours, setting, proponents, batch_size, k):
    ours = setting.make(type(ours), batch_size=batch_size)
    top = ours.influence(setting.queries, k=k, proponents=proponents)
    expected = ours.influence(setting.queries).sort(dim=1, descending=proponents)
    assert isinstance(top, common.KMostInfluentialResults)
    assert top.indices.dtype == torch.long
    assert torch.equal(top.indices, expected.indices[:, :k])
    torch.testing.assert_close(top.influence_scores, expected.values[:, :k], **EXACT)


def test_aggregate_is_the_sum_over_queries(ours, setting):
    expected = ours.influence(setting.queries).sum(0, keepdim=True)
    aggregate = ours.influence(setting.queries, aggregate=True)
    torch.testing.assert_close(aggregate, expected, **EXACT)
    top = ours.influence(setting.queries, k=3, aggregate=True)
    values, indices = expected.topk(3, dim=1)
    assert torch.equal(top.indices, indices)
    torch.testing.assert_close(top.influence_scores, values, **EXACT)


def test_a_loader_of_queries_is_one_batch_of_them(ours, setting):
    loader = setting.loader(2, setting.queries)
    scores = ours.influence(loader)
    torch.testing.assert_close(scores, ours.influence(setting.queries), **EXACT)
    top, expected = (ours.influence(queries, k=2) for queries in (loader, setting.queries))
    assert torch.equal(top.indices, expected.indices)


def test_a_listed_batch_is_a_batch(ours, setting):
    """What a loader over a ``TensorDataset`` yields is a list of tensors, not of examples."""
    batch = next(iter(setting.loader(3, setting.queries)))
    assert isinstance(batch, list)
    torch.testing.assert_close(ours.influence(batch), ours.influence(setting.queries), **EXACT)


def test_a_loader_of_training_samples_is_their_dataset(ours, setting):
    loaded = setting.make(type(ours), train=setting.loader(2), batch_size=None)
    scores = loaded.influence(setting.queries)
    torch.testing.assert_close(scores, ours.influence(setting.queries), **EXACT)
    torch.testing.assert_close(loaded.self_influence(), ours.self_influence(), **EXACT)


def test_embeddings_multiply_to_scores(ours, setting):
    queries = ours.compute_intermediate_quantities(setting.queries, test=True)
    train = ours.compute_intermediate_quantities(setting.train_batch)
    torch.testing.assert_close(queries @ train.T, ours.influence(setting.queries), **EXACT)


@pytest.mark.parametrize("test", [True, False])
def test_embeddings_of_a_loader_and_their_sum(ours, setting, test):
    expected = ours.compute_intermediate_quantities(setting.train_batch, test=test)
    loader = setting.loader(3)
    loaded = ours.compute_intermediate_quantities(loader, test=test)
    torch.testing.assert_close(loaded, expected, **EXACT)
    total = ours.compute_intermediate_quantities(loader, aggregate=True, test=test)
    torch.testing.assert_close(total, expected.sum(0, keepdim=True), **EXACT)


def test_self_influence_is_the_diagonal_of_influence(ours, setting):
    diagonal = ours.influence(setting.train_batch).diagonal()
    torch.testing.assert_close(ours.self_influence(**setting.own_draws), diagonal, **EXACT)


def test_self_influence_is_the_same_in_both_loop_orders_and_for_batches(ours, setting):
    expected = ours.self_influence()
    for other in (
        ours.self_influence(outer_loop_by_checkpoints=True),
        ours.self_influence(setting.train_batch),
        ours.self_influence(setting.loader(2)),
    ):
        torch.testing.assert_close(other, expected, **EXACT)
