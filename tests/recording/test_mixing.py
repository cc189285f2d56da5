"""Scripts for flow matching, which mix sample and noise themselves."""

import copy

import pytest
import torch
from accelerate import Accelerator
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.recording import ScriptRecording, watching
from tests.recording.running import fresh_process

SHAPE = (4, 8, 8)


class Transformer(nn.Module):
    """Takes the keyword arguments that diffusers' transformers take."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, hidden_states, timestep, return_dict=True):
        return (self.scale * hidden_states,)


def as_in_sd3(x, noise, sigmas, timesteps):
    return (1.0 - sigmas) * x + sigmas * noise, timesteps


def as_in_flux(x, noise, sigmas, timesteps):
    mixed = (1.0 - sigmas) * x + sigmas * noise
    return FluxPipeline._pack_latents(mixed, *mixed.shape), timesteps / 1000


def in_bfloat16(x, noise, sigmas, timesteps):
    x, noise, sigmas = x.bfloat16(), noise.bfloat16(), sigmas.bfloat16()
    return (1.0 - sigmas) * x + sigmas * noise, timesteps


def as_in_lumina2(x, noise, sigmas, timesteps):
    return (1.0 - sigmas) * noise + sigmas * x, timesteps


def drawn(x):
    return torch.randn_like(x)


def train(mix, shift=3.0, draw=drawn):
    """Train one epoch as the scripts do; return the positions and the noise by sample."""
    accelerator = Accelerator(cpu=True)
    data = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    scheduler = copy.deepcopy(FlowMatchEulerDiscreteScheduler(shift=shift))
    model, optimizer, loader = accelerator.prepare(
        *(network := Transformer(), torch.optim.SGD(network.parameters(), lr=0.1)),
        DataLoader(TensorDataset(torch.arange(8), data), batch_size=2, shuffle=True),
    )
    told = {}
    for ids, x in loader:
        noise = draw(x)
        indices = torch.randint(1000, (len(x),))
        timesteps, sigmas = scheduler.timesteps[indices], scheduler.sigmas[indices]
        mixed, times = mix(x, noise, sigmas.view(-1, 1, 1, 1), timesteps)
        prediction = model(hidden_states=mixed, timestep=times, return_dict=False)[0]
        accelerator.backward(prediction.float().square().mean())
        optimizer.step()
        told |= {int(i): (int(p), eps) for i, p, eps in zip(ids, indices, noise, strict=True)}
    return told


@pytest.fixture
def recording(tmp_path):
    found = ScriptRecording("samples", tmp_path, ["train.py"])
    with fresh_process(), watching(found):
        torch.manual_seed(0)
        yield found


@pytest.mark.parametrize("mix", [as_in_sd3, as_in_flux, in_bfloat16])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_sample_noise_and_position_are_seen(recording, tmp_path, mix, shift):
    told, trace = train(mix, shift), retrac.read_trace(tmp_path)
    visits = trace.last_visits(range(8), 4)
    noise, samples = (read(visits, SHAPE) for read in (trace.noise, trace.samples))
    assert trace.timesteps[visits].tolist() == [told[i][0] for i in range(8)]
    assert torch.equal(noise, torch.stack([told[i][1] for i in range(8)]))
    data = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    assert torch.equal(samples, data)


def test_a_schedule_that_another_part_of_the_program_holds_is_not_taken(recording, tmp_path):
    """Such as a pipeline's, or one that waits for the garbage collector: which is found first?"""
    others = [FlowMatchEulerDiscreteScheduler(shift=shift) for shift in (1.0, 2.0, 7.0)]
    told, trace = train(as_in_sd3, shift=3.0), retrac.read_trace(tmp_path)
    visits = trace.last_visits(range(8), 4)
    assert trace.timesteps[visits].tolist() == [told[i][0] for i in range(8)]
    assert len(others) == 3


def test_a_schedule_cut_down_for_sampling_is_not_taken(recording, tmp_path):
    sampling = FlowMatchEulerDiscreteScheduler(shift=3.0)
    sampling.set_timesteps(28)
    told, trace = train(as_in_flux, shift=3.0), retrac.read_trace(tmp_path)
    visits = trace.last_visits(range(8), 4)
    assert trace.timesteps[visits].tolist() == [told[i][0] for i in range(8)]


def between_two(x, noise, sigmas, timesteps):
    """A noise level that no position of the table has, as of continuous times."""
    sigmas = sigmas - 0.0001
    return (1.0 - sigmas) * x + sigmas * noise, timesteps - 0.1


def test_timesteps_between_two_positions_are_refused_before_the_first_step(recording):
    with pytest.raises(InputError, match=r"which 0 of them hold.*draw timesteps from its table"):
        train(between_two)


def other_noise(x):
    torch.randn_like(x)  # for something else
    return torch.randn(x.shape)


@pytest.mark.parametrize(
    "options", [{"mix": as_in_lumina2}, {"mix": as_in_sd3, "draw": other_noise}]
)
def test_what_was_not_mixed_so_is_refused_before_the_first_step(recording, options):
    with pytest.raises(InputError, match="was not seen to diffuse anything"):
        train(**options)


def test_cached_latents_are_refused():
    with pytest.raises(InputError, match="with --cache_latents"):
        ScriptRecording("noise", None, ["train.py", "--cache_latents"])
