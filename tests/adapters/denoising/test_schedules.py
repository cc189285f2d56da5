"""What we read off a scheduler, against what diffusers itself computes when it trains."""

import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.training_utils import (
    compute_density_for_timestep_sampling,
    compute_loss_weighting_for_sd3,
    compute_snr,
)

from retrac_adapters.denoising.schedules import edm_style, preconditioned_flow, read_schedule
from retrac_plugin import distributions, weightings
from retrac_plugin.errors import InputError

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SAMPLES, NOISE = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
INDICES = torch.tensor([0, 7, 500, 999])


def diffused(schedule):
    """Return ``x_t``, and a and s as columns, of the four samples."""
    a, s = (c.view(-1, 1, 1, 1) for c in schedule.coefficients(INDICES, torch.float64))
    return a * SAMPLES + s * NOISE, a, s


@pytest.mark.parametrize(
    "make_scheduler", [EulerDiscreteScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler]
)
@pytest.mark.parametrize("zero_terminal", [False, True])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_sampler_is_read_as_the_training_process(make_scheduler, zero_terminal):
    saved = make_scheduler(
        **SD, prediction_type="v_prediction", rescale_betas_zero_snr=zero_terminal
    )
    saved.set_timesteps(20)  # as in a pipeline that has made a picture
    training = DDPMScheduler(**SD, rescale_betas_zero_snr=zero_terminal)
    schedule = read_schedule(saved)
    assert schedule.prediction_type == "v_prediction"
    assert schedule.num_timesteps == 1000
    expected = training.add_noise(SAMPLES, NOISE, INDICES)
    torch.testing.assert_close(diffused(schedule)[0], expected, rtol=0, atol=1e-12)


def test_a_table_of_a_schedulers_own_is_kept():
    scheduler = CogVideoXDDIMScheduler(snr_shift_scale=3.0)
    expected = scheduler.add_noise(SAMPLES, NOISE, INDICES)
    torch.testing.assert_close(diffused(read_schedule(scheduler))[0], expected, rtol=0, atol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    "make_scheduler", [FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler]
)
def test_flow_matching_is_the_schedulers_own(make_scheduler, shift):
    scheduler = make_scheduler(shift=shift)
    used = make_scheduler(shift=shift)
    used.set_timesteps(20)
    schedule = read_schedule(used)
    assert (schedule.prediction_type, schedule.num_timesteps) == ("flow", 1000)
    times = scheduler.timesteps[INDICES]
    assert torch.equal(schedule.c_noise(INDICES), times)
    expected = torch.cat(
        [
            make_scheduler(shift=shift).scale_noise(SAMPLES[[i]], times[[i]], NOISE[[i]])
            for i in range(4)
        ]
    )
    torch.testing.assert_close(diffused(schedule)[0], expected, rtol=0, atol=1e-7)


def test_a_solver_for_flows_is_read_as_flow_matching():
    solver = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"
    )
    schedule = read_schedule(solver)
    assert schedule.prediction_type == "flow"
    # As train_dreambooth_lora_sana.py loads it: the solver's flow_shift is not the scheduler's.
    loaded = FlowMatchEulerDiscreteScheduler.from_config(solver.config)
    assert torch.equal(schedule.sigmas, loaded.sigmas)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("make_scheduler", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
def test_edm_preconditioning_is_the_schedulers_own(make_scheduler, prediction_type):
    options = {"prediction_type": prediction_type, "sigma_data": 0.7, "sigma_max": 60.0}
    scheduler, used = make_scheduler(**options), make_scheduler(**options)
    used.set_timesteps(20)
    schedule = read_schedule(used)
    assert (schedule.prediction_type, schedule.num_timesteps) == ("sample", 1000)
    times = scheduler.timesteps[INDICES]
    assert torch.equal(schedule.c_noise(INDICES), times)
    noisy, _, sigmas = diffused(schedule)
    expected = scheduler.add_noise(SAMPLES, NOISE, times)
    torch.testing.assert_close(noisy, expected, rtol=0, atol=1e-12)
    c_in, c_skip, c_out = (c.view(-1, 1, 1, 1) for c in schedule.frame(INDICES, torch.float64))
    torch.testing.assert_close(c_in * noisy, scheduler.precondition_inputs(noisy, sigmas))
    torch.testing.assert_close(
        c_skip * noisy + c_out * NOISE, scheduler.precondition_outputs(noisy, NOISE, sigmas)
    )


@pytest.mark.parametrize("timestep_type", ["discrete", "continuous"])
def test_edm_style_takes_an_eulers_table(timestep_type):
    options = {**SD, "prediction_type": "v_prediction", "timestep_type": timestep_type}
    scheduler = EulerDiscreteScheduler(**options)
    schedule = edm_style(scheduler)
    times = scheduler.timesteps[INDICES]
    assert torch.equal(schedule.c_noise(INDICES), times)
    expected = scheduler.add_noise(SAMPLES, NOISE, times)
    torch.testing.assert_close(diffused(schedule)[0], expected, rtol=0, atol=1e-12)
    assert edm_style(EDMEulerScheduler()).network_frame is not schedule.network_frame


def test_preconditioned_flow_predicts_the_sample():
    schedule = preconditioned_flow(FlowMatchEulerDiscreteScheduler())
    noisy, _, _ = diffused(schedule)
    _, c_skip, c_out = (c.view(-1, 1, 1, 1) for c in schedule.frame(INDICES, torch.float64))
    perfect = NOISE - SAMPLES
    torch.testing.assert_close(c_skip * noisy + c_out * perfect, SAMPLES, rtol=0, atol=1e-12)


def test_edm_refuses_other_prediction_types():
    scheduler = EDMEulerScheduler(prediction_type="sample")
    with pytest.raises(InputError, match="EDM schedulers know no prediction type 'sample'"):
        read_schedule(scheduler)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_uses_diffusers_signal_to_noise(prediction_type):
    scheduler = DDPMScheduler(**SD, prediction_type=prediction_type)
    snr = compute_snr(scheduler, INDICES)
    by_script = snr.clamp(max=5.0) / (snr if prediction_type == "epsilon" else snr + 1)
    weights = weightings.min_snr(5.0).on(read_schedule(scheduler))(INDICES)
    torch.testing.assert_close(weights.float(), by_script, rtol=1e-4, atol=0)


@pytest.mark.parametrize("scheme", ["sigma_sqrt", "cosmap"])
def test_sd3_weightings_are_diffusers_own(scheme):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    weights = getattr(weightings, scheme)().on(read_schedule(scheduler))(INDICES)
    expected = compute_loss_weighting_for_sd3(scheme, scheduler.sigmas[INDICES].double())
    torch.testing.assert_close(weights, expected.double(), rtol=1e-6, atol=0)


def test_mode_sampling_is_diffusers_own():
    ours = distributions.mode(1.29)(torch.rand(1000, generator=torch.Generator().manual_seed(0)))
    theirs = compute_density_for_timestep_sampling(
        "mode", 1000, mode_scale=1.29, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(ours, theirs)


def test_logit_normal_sampling_is_distributed_as_diffusers_own():
    count = 20000
    theirs = compute_density_for_timestep_sampling(
        "logit_normal", count, 0.3, 1.2, generator=torch.Generator().manual_seed(0)
    )
    quantiles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ours = distributions.logit_normal(0.3, 1.2)(quantiles).float()
    # Kolmogorov-Smirnov: the largest difference of the two distribution functions.
    below = torch.searchsorted(ours, theirs.sort().values) / count
    assert (below - quantiles).abs().max() < 1.95 / count**0.5  # the 0.1% point
