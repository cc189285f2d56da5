"""Top lists that are kept while a store is read, and what exact scores add to them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrac_plugin.attribution.highest import Highest
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.store.answering import scores_from
from retrac_plugin.store.exact import expected_missed, with_exact
from retrac_plugin.store.featurizing import featurize
from retrac_plugin.store.questions import OfPaper, question_of
from retrac_plugin.store.store import Store
from retrac_plugin.store.top_lists import extremes_from
from tests.store.cases import SHARD, case, fill, method

CASE = case(train=60)


@settings(deadline=None, max_examples=60)
@given(
    numbers=st.lists(st.integers(-3, 3), min_size=2, max_size=40),
    k=st.integers(1, 12),
    pieces=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_lists_merged_in_any_order_are_the_list_of_all(numbers, k, pieces, seed):
    """With many equal scores: those are listed by their place."""
    scores = torch.tensor([numbers, numbers[::-1]], dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    highest = Highest(k)
    for which in torch.randperm(len(numbers), generator=generator).chunk(pieces):
        highest.add(which, scores[:, which])
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    assert torch.equal(highest.top().indices, order)
    assert torch.equal(highest.top().values, scores.gather(1, order))


@settings(deadline=None, max_examples=30)
@given(k=st.integers(1, 9), cut=st.integers(1, 29), seed=st.integers(0, 99))
def test_lists_of_two_parts_of_a_training_set_merge_to_the_list_of_both(k, cut, seed):
    scores = torch.randn(3, 30, generator=torch.Generator().manual_seed(seed))
    parts = []
    for part in (range(cut), range(cut, 30)):
        own = Highest(k)
        own.add(torch.tensor(part), scores[:, part.start : part.stop])
        parts.append(own.top())
    both = Highest(k)
    for part in parts:
        both.add(part.indices, part.values)
    expected = scores.topk(k)
    assert torch.equal(both.top().indices, expected.indices)


@pytest.mark.parametrize("name", ["diffusion-retrac", "retrac-ridge", "trak"])
def test_lists_without_a_matrix_are_those_of_the_scores(name, tmp_path):
    attributor = method(name, CASE)
    fill(tmp_path, attributor, CASE.train)
    store, question = Store.open(tmp_path), question_of(attributor)
    scores = scores_from(store, question, CASE.train, CASE.queries)
    found = extremes_from(store, question, CASE.train, CASE.queries, 7)
    assert torch.equal(found.proponents.indices, scores.proponents(7).indices)
    assert torch.equal(found.opponents.indices, scores.opponents(7).indices)
    assert torch.equal(found.opponents.values, scores.opponents(7).values)
    with pytest.raises(InputError, match="between 1 and the 60 samples"):
        extremes_from(store, question, CASE.train, CASE.queries, 61)


def sketched(tmp_path, attributor, dimension=16):
    """Scores from a sketch so short that its lists are wrong."""
    question = OfPaper(attributor, CountSketch(dimension))
    store = Store.create(tmp_path, "float32", SHARD)
    featurize(store, question.setting, question.needs(), ExampleSource(CASE.train, "train"))
    return scores_from(store, question, CASE.train, CASE.queries)


def lacking(exact, other):
    """How many of all queries' ten highest another's ten highest lack."""
    lists = zip(exact.proponents(10).indices, other.proponents(10).indices, strict=True)
    return sum(len(set(own.tolist()) - set(theirs.tolist())) for own, theirs in lists)


@pytest.mark.parametrize("name", ["diffusion-tracin", "diffusion-retrac"])
def test_a_short_list_of_a_third_gives_the_ten_highest_exactly(name, tmp_path):
    attributor = method(name, CASE)
    estimated = sketched(tmp_path, attributor)
    exact = attributor.attribute(CASE.train, CASE.queries)
    found = with_exact(estimated, attributor, CASE.train, CASE.queries, 20)
    missed, before = (lacking(exact, other) for other in (found, estimated))
    assert missed <= 1 < before
    assert found.about["expected_missing"] < 1
    count, values = found.about["exact_scores"], found.values
    close = torch.isclose(values, exact.values, rtol=1e-5, atol=1e-7).all(0)
    assert count <= close.sum() < len(CASE.train)


def test_norms_beside_a_sketch_are_those_of_whole_gradients(tmp_path):
    attributor = method("diffusion-retrac", CASE)
    expected = attributor.attribute(CASE.train, CASE.queries).gradient_norms
    torch.testing.assert_close(sketched(tmp_path, attributor).gradient_norms, expected)


def test_what_is_missing_is_expected_as_often_as_it_is_missing():
    """Of scores known with a normal error, over many drawings."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(400, 300, generator=generator)
    error = 0.3
    estimated = truth + error * torch.randn(truth.shape, generator=generator)
    missing, expected = [], []
    for own, theirs in zip(truth, estimated, strict=True):
        members = theirs.topk(15).indices
        values = theirs.clone()
        values[members] = own[members]
        least = own[members].topk(10).values[-1]
        above = own > least
        above[members] = False
        missing.append(above.sum().item())
        errors = torch.full((1, len(own)), error)
        expected.append(expected_missed(values[None], members, errors, 10).item())
    # The truth lies nearer to the middle than its estimate: fewer are missing than expected.
    assert 0.3 < sum(missing) / sum(expected) <= 1.05


def test_methods_that_are_their_features_have_no_other_scores():
    scores = Scores(torch.zeros(3, 60))
    with pytest.raises(InputError, match="diffusion-tracin or diffusion-retrac, got a TRAK"):
        with_exact(scores, method("trak", CASE), CASE.train, CASE.queries, 5)
    with pytest.raises(InputError, match="which come with norms"):
        with_exact(scores, method("diffusion-tracin", CASE), CASE.train, CASE.queries, 5)
