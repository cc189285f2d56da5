"""What an attributor refuses, and when."""

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import GradientError, InputError
from retrac_plugin.model.checks import check_deterministic
from tests.attribution.cases import attributor, draws_with_one_sample_at_timestep_7
from tests.small import small_case


def test_the_model_must_be_wrapped():
    case = small_case()
    with pytest.raises(InputError, match=r"expected what retrac_plugin\.wrap"):
        retrac.DiffusionReTrac(case.network, case.checkpoints)


def test_batch_size():
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        attributor(retrac.DiffusionReTrac, small_case(), batch_size=0)


def test_unknown_device():
    with pytest.raises(InputError, match=r"device: .*abacus"):
        attributor(retrac.DiffusionReTrac, small_case(), device="abacus")


@pytest.mark.parametrize("timestep", [-1, 100])
def test_a_timestep_outside_the_schedule(timestep):
    case = small_case()
    timesteps = torch.full((2, 7), 5)
    timesteps[1, 4] = timestep
    ours = attributor(
        retrac.DiffusionReTrac,
        case,
        train_draws=retrac.Given(timesteps, torch.zeros(2, 7, 1, 4, 4)),
    )
    with pytest.raises(InputError, match=f"timestep {timestep} .*expected 0 to 99"):
        ours.attribute(case.train, case.queries)


def test_an_infinite_loss_names_sample_timestep_and_checkpoint():
    case = small_case()
    case.train[5] = torch.full((1, 4, 4), torch.inf, dtype=torch.float64)
    draws = draws_with_one_sample_at_timestep_7(case)
    ours = attributor(retrac.DiffusionTracIn, case, train_draws=draws)
    message = r"loss of train sample 5 is not finite at timestep 50 of checkpoint of step 10"
    with pytest.raises(GradientError, match=message):
        ours.attribute(case.train, case.queries)


def test_an_infinite_query():
    case = small_case()
    case.queries[1] = torch.full((1, 4, 4), torch.nan, dtype=torch.float64)
    with pytest.raises(GradientError, match="query sample 1 is not finite"):
        attributor(retrac.DiffusionTracIn, case).attribute(case.train, case.queries)


def test_nan_weights_are_found():
    case = small_case()
    case.checkpoints[1].parameters["leave.bias"][0] = torch.nan
    with pytest.raises(GradientError, match="checkpoint of step 20"):
        attributor(retrac.DiffusionTracIn, case).attribute(case.train, case.queries)


def test_images_of_bytes():
    case = small_case()
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"torch.uint8, .*such as images / 127\.5 - 1"):
        attributor(retrac.DiffusionTracIn, case).attribute(images, case.queries)


def test_dropout_left_on():
    case = small_case()
    case.network.noise = nn.Dropout(0.5)
    case.network.train()
    with pytest.raises(InputError, match=r"Call network\.eval\(\) first"):
        attributor(retrac.DiffusionTracIn, case).attribute(case.train, case.queries)
    check_deterministic(case.network.eval())


def test_attributors_that_cannot_share():
    case = small_case()
    pair = [
        attributor(retrac.DiffusionTracIn, case),
        attributor(retrac.DiffusionReTrac, case, query_draws=retrac.Strided(9)),
    ]
    with pytest.raises(InputError, match=r"must share query_draws to"):
        retrac.attribute_together(pair, case.train, case.queries)
