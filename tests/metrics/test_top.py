import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.occurrence import reach
from retrac_plugin.metrics.top import membership
from tests.metrics import planted


def test_is_in_or_out_without_ties():
    values = planted.scores()
    expected = [[float(i in top) for i in range(40)] for top in planted.top_lists(values, 7)]
    assert membership(values, 7).tolist() == expected


def test_ties_share_the_free_places():
    values = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0]])
    shares = membership(values, 3)
    torch.testing.assert_close(shares, torch.tensor([[1, 2 / 3, 2 / 3, 2 / 3, 0]]).double())


def test_a_tie_that_fits_whole_is_no_tie():
    assert membership(torch.tensor([[2.0, 2.0, 0.0]]), 2).tolist() == [[1, 1, 0]]


def test_scores_equal_in_float32_stay_equal():
    third = torch.tensor(1 / 3)
    assert membership(torch.stack([third, third, -third])[None], 1).tolist() == [[0.5, 0.5, 0]]


def test_reach_counts_samples_by_number_of_lists():
    values = torch.tensor([[3.0, 2, 1, 0], [3, 0, 2, 1], [3, 2, 0, 1]])
    # top 2: {0, 1}, {0, 2}, {0, 1}
    assert reach(values, 2).tolist() == [4, 3, 2, 1]


def test_reach_breaks_ties_alike_for_all_queries():
    torch.testing.assert_close(reach(torch.zeros(3, 8), 2), torch.tensor([8.0, 2, 2, 2]).double())


@pytest.mark.parametrize("k", [0, -1, 41])
def test_refuses_k_outside_the_training_set(k):
    with pytest.raises(InputError, match=f"between 1 and the 40 training samples, got {k}"):
        membership(planted.scores(), k)


def test_refuses_nan_and_names_it():
    values = planted.scores()
    values[2, 5] = float("nan")
    with pytest.raises(InputError, match="got nan for query 2 and training sample 5"):
        membership(values, 3)


@pytest.mark.parametrize("shape", [(5,), (0, 5), (5, 0), (2, 3, 4)])
def test_refuses_what_is_no_score_matrix(shape):
    with pytest.raises(InputError, match=r"\[query, train\]"):
        membership(torch.zeros(shape), 1)
