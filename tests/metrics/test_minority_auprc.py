"""The area under the precision-recall curve of a minority, for its own queries."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.minority_auprc import minority_auprc

pytest.importorskip("sklearn")
KNOWN = Evidence(
    train_is_minority=torch.tensor([True, True, False, False]),
    query_is_minority=torch.tensor([True, False, True]),
)


def test_is_the_mean_precision_at_the_minoritys_ranks_over_its_queries():
    values = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 9.0, 9.0], [1.0, 4.0, 3.0, 2.0]])
    first, third = 1.0, (1 / 1 + 2 / 4) / 2  # at ranks 1 and 2; at ranks 1 and 4
    assert minority_auprc(values, KNOWN) == pytest.approx((first + third) / 2)


def test_scores_that_are_all_equal_get_the_base_rate():
    assert minority_auprc(torch.zeros(3, 4), KNOWN) == 0.5


def test_without_a_query_of_the_minority_there_is_none():
    known = Evidence(
        train_is_minority=KNOWN.train_is_minority, query_is_minority=torch.zeros(3).bool()
    )
    with pytest.raises(InputError, match="at least one query of the minority, got none among 3"):
        minority_auprc(torch.zeros(3, 4), known)
