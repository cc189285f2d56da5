"""Scores block by block: the same scores, never all of them at once."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.attribution.streaming import running_top, score_blocks
from retrac_plugin.errors import GradientError
from tests.small import small_case

METHODS = [retrac.DiffusionTracIn, retrac.DiffusionReTrac]
EXACT = {"rtol": 1e-10, "atol": 1e-14}

both_methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def attributor(method, case, batch_size=4):
    draws = {"train_draws": retrac.Uniform(1), "query_draws": retrac.Strided(2)}
    return method(case.model, case.checkpoints, batch_size=batch_size, **draws)


@both_methods
@pytest.mark.parametrize("batch_size", [3, 100])
def test_blocks_side_by_side_are_the_scores(method, batch_size):
    case = small_case()
    ours = attributor(method, case, batch_size)
    blocks = list(score_blocks(ours, case.train, case.queries))
    scores = ours.attribute(case.train, case.queries).values
    assert [block.shape[1] for block in blocks] == {3: [3, 3, 1], 100: [7]}[batch_size]
    torch.testing.assert_close(torch.cat(blocks, 1), scores, **EXACT)


@both_methods
def test_aggregate_sums_over_queries(method):
    case = small_case()
    ours = attributor(method, case)
    row = torch.cat(list(score_blocks(ours, case.train, case.queries, aggregate=True)), 1)
    scores = ours.attribute(case.train, case.queries).values
    torch.testing.assert_close(row, scores.sum(0, keepdim=True), **EXACT)


class Counting:
    """The same examples, counting how many were asked for."""

    def __init__(self, examples):
        self.examples, self.asked = examples, 0

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        self.asked += 1
        return self.examples[index]


def test_a_block_is_computed_when_it_is_asked_for():
    case = small_case()
    train = Counting(case.train)
    blocks = score_blocks(attributor(retrac.DiffusionReTrac, case), train, case.queries)
    next(blocks)
    twice = 2 * len(case.train)  # whether it answers the same
    assert train.asked == twice + 4 * len(case.checkpoints)


def test_what_cannot_be_used_is_refused_before_the_end():
    case = small_case()
    case.train[6] = torch.full((1, 4, 4), torch.inf, dtype=torch.float64)
    with pytest.raises(GradientError, match="train sample 6 is not finite"):
        list(score_blocks(attributor(retrac.DiffusionReTrac, case), case.train, case.queries))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("width", [1, 3, 4, 23])
@pytest.mark.parametrize("k", [1, 5, 23, 30])
def test_the_running_top_is_the_top_of_all(largest, width, k):
    scores = torch.randn(4, 23, generator=torch.Generator().manual_seed(0))
    top = running_top(scores.split(width, dim=1), k, largest)
    values, indices = scores.sort(dim=1, descending=largest)
    assert torch.equal(top.values, values[:, :k])
    assert torch.equal(top.indices, indices[:, :k])


def test_there_is_no_top_of_nothing():
    with pytest.raises(ValueError, match="no block"):
        running_top([], 1)
