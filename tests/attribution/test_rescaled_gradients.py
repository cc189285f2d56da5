"""What a gradient's length does to each method's scores, down to none."""

import pytest
import torch

import retrac_plugin as retrac
from tests.attribution.cases import (
    EXACT,
    METHODS,
    attributor,
    draws_with_one_sample_at_timestep_7,
    rescaled_model,
)
from tests.small import small_case

both_methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_rescaling_one_gradient_scales_tracin_and_leaves_retrac(factor):
    case = small_case()
    draws = draws_with_one_sample_at_timestep_7(case)
    plain, rescaled = (
        {
            m: attributor(m, case, model=model, train_draws=draws)
            .attribute(case.train, case.queries)
            .values
            for m in METHODS
        }
        for model in (case.model, rescaled_model(case, factor))
    )
    tracin, retrac_scores = retrac.DiffusionTracIn, retrac.DiffusionReTrac
    torch.testing.assert_close(rescaled[retrac_scores], plain[retrac_scores], **EXACT)
    expected = plain[tracin].clone()
    expected[:, 3] *= factor
    torch.testing.assert_close(rescaled[tracin], expected, **EXACT)


@both_methods
def test_a_zero_gradient_gives_zero(method):
    case = small_case()
    draws = draws_with_one_sample_at_timestep_7(case)
    ours = attributor(method, case, model=rescaled_model(case, 0.0), train_draws=draws)
    scores = ours.attribute(case.train, case.queries).values
    assert (scores[:, 3] == 0).all()
    assert scores.isfinite().all()
    assert (scores[:, :3] != 0).all()


@both_methods
def test_a_query_with_a_zero_gradient_at_one_timestep(method):
    case = small_case()
    noise = torch.randn(2, 3, 2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    options = {"model": rescaled_model(case, 0.0), "train_draws": retrac.Uniform(1, seed=9)}
    pair = retrac.Given(torch.tensor([7, 60]), noise)
    alone = retrac.Given(torch.tensor([60]), noise[:, :, 1:])
    both = attributor(method, case, query_draws=pair, **options)
    one = attributor(method, case, query_draws=alone, **options)
    scores = both.attribute(case.train, case.queries).values
    halved = one.attribute(case.train, case.queries).values / 2
    torch.testing.assert_close(scores, halved, **EXACT)
