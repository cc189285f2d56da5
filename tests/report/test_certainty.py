import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.report.certainty import certainty, exceeding


@pytest.mark.parametrize("degrees", range(1, 12))
@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_is_the_probability_that_student_t_exceeds_a_bound(bound, degrees):
    stats = pytest.importorskip("scipy.stats")
    assert exceeding(bound, degrees) == pytest.approx(2 * stats.t.sf(bound, degrees), abs=1e-12)


def test_counts_scores_beyond_three_standard_errors_of_either_sign():
    values = torch.tensor([[4.0, -4.0, 3.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    errors = torch.ones(2, 4)
    found = certainty(Scores(values, standard_errors=errors, about={"repeats": 4}), 0)
    assert (found.beyond, found.of, found.draws) == (2, 4, 4)
    assert found.by_chance == pytest.approx(4 * 0.0576697, abs=1e-5)


def test_pure_noise_has_as_many_beyond_as_chance_says():
    draws = torch.randn(4, 1, 20_000, generator=torch.Generator().manual_seed(0)).double()
    scores = Scores(
        draws.mean(0), standard_errors=draws.std(0) / 2, about={"method": "noise", "repeats": 4}
    )
    found = certainty(scores, 0)
    assert found.beyond == pytest.approx(found.by_chance, rel=0.1)


def test_is_not_known_of_scores_that_were_computed_once():
    assert certainty(Scores(torch.ones(1, 3)), 0) is None


def test_says_no_chance_where_the_number_of_draws_is_not_known():
    found = certainty(Scores(torch.ones(1, 3), standard_errors=torch.ones(1, 3)), 0)
    assert (found.beyond, found.by_chance, found.draws) == (0, None, None)
