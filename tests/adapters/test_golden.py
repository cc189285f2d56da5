"""The core, through the diffusers adapter, against scores that plain loops computed."""

import pytest

import retrac_plugin as retrac
from tests import golden

METHODS = {"tracin": retrac.DiffusionTracIn, "retrac": retrac.DiffusionReTrac}


@pytest.fixture(params=golden.NAMES, scope="module")
def case(request):
    return golden.load(request.param)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [3, 64])
def test_scores(case, method, batch_size):
    attributor = METHODS[method](
        case.model,
        case.checkpoints,
        train_draws=case.train_draws,
        query_draws=case.query_draws,
        batch_size=batch_size,
    )
    scores = attributor.attribute(case.train, case.queries)
    golden.assert_equal(scores.values, getattr(case, method))
    golden.assert_equal(scores.gradient_norms, case.train_gradient_norms)


def test_self_influence_at_the_recorded_draw(case):
    attributor = retrac.DiffusionTracIn(
        case.model, case.checkpoints, train_draws=case.train_draws, query_draws=case.query_draws
    )
    golden.assert_equal(attributor.self_influence(case.train), case.tracin_self_influence)
