"""Losses, weightings and timestep distributions against their formulas in plain words."""

import math

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import distributions, losses, weightings
from retrac_plugin.errors import InputError
from retrac_plugin.model.preconditioning import Frame
from retrac_plugin.model.schedules import NoiseLevels
from tests.small import SmallDenoiser, small_case

SCHEDULE = retrac.VariancePreserving(torch.tensor([0.99, 0.5, 0.01, 0.0], dtype=torch.float64))
FLOW = NoiseLevels(torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64), torch.arange(3.0))


@pytest.mark.parametrize("c", [0.1, 1.0])
def test_huber_and_smooth_l1_are_the_scripts_formulas(c):
    for d in (0.0, 1e-3, 0.5, -2.0, 30.0):
        prediction = torch.tensor([d], dtype=torch.float64)
        smooth = 2 * (math.sqrt(d**2 + c**2) - c)
        zero = torch.zeros_like(prediction)
        assert losses.smooth_l1(c)(prediction, zero).item() == pytest.approx(smooth, abs=1e-15)
        assert losses.huber(c)(prediction, zero).item() == pytest.approx(c * smooth, abs=1e-15)


@pytest.mark.parametrize(
    ("prediction_type", "formula"),
    [
        ("epsilon", lambda snr, gamma: min(snr, gamma) / snr),
        ("v_prediction", lambda snr, gamma: min(snr, gamma) / (snr + 1)),
        ("sample", lambda snr, gamma: min(snr, gamma)),
    ],
)
def test_min_snr_by_prediction_type(prediction_type, formula):
    schedule = retrac.VariancePreserving(SCHEDULE.alphas_cumprod, prediction_type)
    weights = weightings.min_snr(5.0).on(schedule)(torch.arange(3))
    expected = [formula(alpha / (1 - alpha), 5.0) for alpha in (0.99, 0.5, 0.01)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-12)


def test_min_snr_of_pure_noise_is_finite():
    assert weightings.min_snr(5.0).on(SCHEDULE)(torch.tensor([3])).tolist() == [1.0]


def test_min_snr_has_no_formula_for_flow_matching():
    with pytest.raises(InputError, match="no formula for prediction type 'flow'"):
        weightings.min_snr(5.0).on(FLOW)(torch.tensor([0]))


def test_weightings_of_noise_levels():
    sigmas = [1.0, 0.5, 0.1]
    at = torch.arange(3)
    assert weightings.sigma_sqrt().on(FLOW)(at).tolist() == pytest.approx([s**-2 for s in sigmas])
    assert weightings.cosmap().on(FLOW)(at).tolist() == pytest.approx(
        [2 / (math.pi * (1 - 2 * s + 2 * s**2)) for s in sigmas]
    )
    assert weightings.snr().on(FLOW)(at).tolist() == pytest.approx(
        [((1 - s) / s) ** 2 for s in sigmas]
    )


def test_a_weighting_is_bound_to_the_schedule_of_the_model():
    model = retrac.wrap(SmallDenoiser().double(), SCHEDULE, weight=weightings.snr())
    samples = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    batch = model.diffuse(samples, torch.tensor([0, 1]), samples, {})
    assert batch.weight.tolist() == pytest.approx([99.0, 1.0])


def test_an_examples_own_loss_weight_is_no_condition():
    case = small_case()
    samples = torch.stack(case.train[:2])
    timesteps = torch.tensor([3, 4])
    own = torch.tensor([1.0, 0.25], dtype=torch.float64)
    parameters = dict(case.network.named_parameters())
    weighted = case.model.diffuse(samples, timesteps, samples, {"loss_weight": own})
    plain = case.model.diffuse(samples, timesteps, samples, {})
    assert weighted.conditions == {}
    torch.testing.assert_close(
        case.model.losses({}, parameters, weighted), own * case.model.losses({}, parameters, plain)
    )


def test_distributions_are_quantile_functions():
    quantiles = torch.linspace(0, 1, 9, dtype=torch.float64)[1:-1]
    normal = torch.distributions.Normal(0.5, 2.0)
    expected = torch.sigmoid(normal.icdf(quantiles))
    torch.testing.assert_close(distributions.logit_normal(0.5, 2.0)(quantiles), expected)
    by_hand = [1 - u - 1.29 * (math.cos(math.pi * u / 2) ** 2 - 1 + u) for u in quantiles.tolist()]
    assert distributions.mode(1.29)(quantiles).tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize(
    "distribution",
    [distributions.uniform, distributions.logit_normal(3.0, 4.0), distributions.mode(0.8)],
)
def test_every_timestep_lies_in_the_schedule(distribution):
    uniforms = torch.tensor([0.0, 1e-300, 0.5, 1 - 2**-53], dtype=torch.float64)
    timesteps = distributions.timesteps_at(distribution, uniforms, 1000)
    assert timesteps.dtype == torch.int64
    assert 0 <= timesteps.min() <= timesteps.max() < 1000


def test_a_network_is_told_what_the_table_says_inside_its_frame():
    seen = {}

    class Network(torch.nn.Module):
        def forward(self, noisy, timesteps):
            seen.update(noisy=noisy, timesteps=timesteps)
            return noisy + 1

    schedule = NoiseLevels(
        FLOW.sigmas,
        torch.tensor([7.5, 8.5, 9.5]),
        network_frame=lambda s: Frame(2 * s, 3 * s, 4 * s),
    )
    model = retrac.wrap(Network(), schedule, loss=lambda prediction, target: prediction)
    samples = torch.full((2, 1, 1, 1), 10.0, dtype=torch.float64)
    batch = model.diffuse(samples, torch.tensor([1, 2]), -samples, {})
    noisy = [0.5 * 10 - 0.5 * 10, 0.9 * 10 - 0.1 * 10]
    predictions = model.losses({}, {}, batch)
    assert seen["timesteps"].tolist() == [8.5, 9.5]
    assert seen["noisy"].flatten().tolist() == pytest.approx([1.0 * noisy[0], 0.2 * noisy[1]])
    assert predictions.tolist() == pytest.approx(
        [1.5 * noisy[0] + 2 * (1.0 * noisy[0] + 1), 0.3 * noisy[1] + 0.4 * (0.2 * noisy[1] + 1)]
    )


def test_predict_says_how_an_unknown_network_is_called():
    case = small_case()

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = case.network

        def forward(self, image, time):
            return {"out": self.inner(image, time)}

    named = retrac.wrap(
        Named(),
        case.schedule,
        predict=lambda call, noisy, timesteps, conditions: call(image=noisy, time=timesteps)["out"],
    )
    samples, timesteps = torch.stack(case.train), torch.arange(7)
    batch = case.model.diffuse(samples, timesteps, samples, {})
    expected = case.model.losses({}, dict(case.network.named_parameters()), batch)
    assert torch.equal(named.losses({}, dict(named.network.named_parameters()), batch), expected)
