"""How the scores of a store split: its own terms, whose sums are its scores."""

import pytest
import torch

from retrac_plugin.attribution.breakdown import breakdown
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.store import breaking
from retrac_plugin.store.answering import scores_from
from retrac_plugin.store.featurizing import featurize
from retrac_plugin.store.questions import OfPaper
from retrac_plugin.store.store import Store
from tests.store.cases import SHARD, ask, case, fill, method

CASE = case()
PAPER = ["diffusion-tracin", "diffusion-retrac"]
PAIRS = [(0, 3), (0, 9), (1, 0)]


@pytest.mark.parametrize("rows", ["float32", "int8"])
@pytest.mark.parametrize("name", PAPER)
def test_the_terms_of_a_pair_sum_to_what_the_store_says_of_it(name, rows, tmp_path):
    attributor = method(name, CASE)
    fill(tmp_path, attributor, CASE.train, rows=rows)
    scores = ask(tmp_path, attributor, CASE.train, CASE.queries)
    store = Store.open(tmp_path)
    (found,) = breaking.broken_from(store, [attributor], CASE.train, CASE.queries, PAIRS)
    queries, samples = found.pairs.T
    torch.testing.assert_close(
        found.values.flatten(1).sum(1), scores.values[queries, samples], rtol=1e-4, atol=1e-7
    )
    assert found.is_of(scores.values)
    assert found.about["method"] == scores.about["method"]


@pytest.mark.parametrize("name", PAPER)
def test_they_are_the_exact_terms_where_the_sketch_keeps_every_number(name, tmp_path, monkeypatch):
    attributor = method(name, CASE)
    question = OfPaper(attributor, CountSketch(sum(p.numel() for p in CASE.network.parameters())))
    store = Store.create(tmp_path, "float32", SHARD)
    featurize(store, question.setting, question.needs(), ExampleSource(CASE.train, "train"))
    monkeypatch.setattr(breaking, "question_of", lambda _: question)
    (found,) = breaking.broken_from(store, [attributor], CASE.train, CASE.queries, PAIRS)
    expected = breakdown(attributor, CASE.train, CASE.queries, PAIRS)
    size = expected.values.abs().max()
    torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-5 * size)
    assert torch.equal(found.timesteps, expected.timesteps)
    assert torch.equal(found.pairs, expected.pairs)
    values = scores_from(store, question, CASE.train, CASE.queries).values
    assert found.is_of(values)


def test_a_method_whose_scores_are_no_such_sums_is_refused(tmp_path):
    attributor = method("retrac-ridge", CASE)
    fill(tmp_path, attributor, CASE.train)
    with pytest.raises(InputError, match="expected diffusion-tracin or diffusion-retrac"):
        breaking.broken_from(Store.open(tmp_path), [attributor], CASE.train, CASE.queries, PAIRS)


def test_no_pairs_are_refused(tmp_path):
    attributor = method("diffusion-retrac", CASE)
    fill(tmp_path, attributor, CASE.train)
    with pytest.raises(InputError, match="at least one"):
        breaking.broken_from(Store.open(tmp_path), [attributor], CASE.train, CASE.queries, [])
