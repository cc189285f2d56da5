"""Model randomisation: a rank correlation with an untrained model's scores, mean over queries."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.randomisation import model_randomisation
from tests.metrics import planted


def test_the_value_of_a_known_case():
    """The first query swaps two neighbours of four, the second turns the order round."""
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    untrained = torch.tensor([[2.0, 1.0, 3.0, 4.0], [9.0, 8.0, 7.0, 1.0]])
    value = model_randomisation(values, Evidence(untrained=untrained))
    assert value == pytest.approx((0.8 - 1) / 2)  # 1 - 6 * 2 / (4 * 15)


def test_a_method_blind_to_the_model_gets_one_and_constant_scores_zero():
    values = planted.scores()
    assert model_randomisation(values, Evidence(untrained=values)) == pytest.approx(1)
    known = Evidence(untrained=values)
    assert model_randomisation(torch.ones_like(values), known) == 0


def test_some_of_the_queries_are_compared_with_their_own():
    values, known = planted.scores(), planted.evidence()
    chosen = torch.tensor([4, 1])
    expected = [
        model_randomisation(values[i : i + 1], Evidence(untrained=known.untrained[i : i + 1]))
        for i in chosen.tolist()
    ]
    found = model_randomisation(values[chosen], known.of_queries(chosen))
    assert found == pytest.approx(sum(expected) / 2)


def test_scores_that_are_not_finite_are_refused_on_either_side():
    values = planted.scores()
    broken = values.clone()
    broken[0, 0] = torch.nan
    with pytest.raises(InputError):
        model_randomisation(values, Evidence(untrained=broken))
