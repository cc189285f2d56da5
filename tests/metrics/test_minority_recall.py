"""How many of a minority its own queries name."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.minority_recall import minority_recall

KNOWN = Evidence(
    train_is_minority=torch.tensor([True, True, False, False]),
    query_is_minority=torch.tensor([True, False, True]),
)


def test_is_the_mean_over_its_queries_of_how_many_are_named():
    values = torch.tensor([[4.0, 3.0, 2.0, 1.0], [9.0, 9.0, 0.0, 0.0], [1.0, 4.0, 3.0, 2.0]])
    assert minority_recall(values, KNOWN, k=2) == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert minority_recall(values, KNOWN, k=1) == pytest.approx(1 / 2)


def test_scores_that_are_all_equal_get_the_length_of_the_list_over_the_training_sets():
    assert minority_recall(torch.zeros(3, 4), KNOWN, k=3) == pytest.approx(3 / 4)


@pytest.mark.parametrize("field", ["train_is_minority", "query_is_minority"])
def test_without_any_of_it_there_is_none(field):
    nothing = torch.zeros_like(getattr(KNOWN, field))
    known = Evidence(**{**vars(KNOWN), field: nothing})
    with pytest.raises(InputError, match="got none among 3 queries and 4 samples"):
        minority_recall(torch.zeros(3, 4), known, k=1)
