"""Recording a training on the pretend device: the CPU's trace, replayed anywhere."""

import copy

import pytest
import torch
from diffusers import DDPMScheduler

import retrac_plugin as retrac
from retrac_plugin.recording.diffusing import watching_diffusers
from tests.pretend.device import install
from tests.pretend.watch import watching
from tests.small import small_case

DEVICE = install()


def train(device, directory, steps=4):
    """Two epochs of eight samples in batches of four, a checkpoint after each."""
    case = small_case(train=8, checkpoints=1)
    images = torch.stack(case.train).to(device)
    network = case.network.to(device)
    model = retrac.wrap(network, case.schedule)
    recorder = retrac.Recorder(num_samples=8, seed=3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    generator, noises = torch.Generator().manual_seed(0), []
    for step in range(steps):
        ids = torch.arange(8).view(2, 4)[step % 2].to(device)
        timesteps = torch.randint(100, (4,), generator=generator).to(device)
        noises.append(recorder.draw(ids, timesteps, images[ids], step_size=0.1))
        batch = model.diffuse(images[ids], timesteps, noises[-1], {})
        loss = model.losses({}, dict(network.named_parameters()), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2:
            recorder.save(directory / f"checkpoint-{step + 1}")
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    return retrac.read_trace(directory), noises, weights


def test_the_trace_is_that_of_the_cpu(tmp_path):
    (here, _, weights), (there, noises, found) = (
        train(device, tmp_path / name) for name, device in (("cpu", "cpu"), ("there", DEVICE))
    )
    assert all(noise.device == DEVICE for noise in noises)
    for column in ("ids", "timesteps", "steps", "step_sizes"):
        assert getattr(there, column).equal(getattr(here, column))
    visits = there.last_visits(range(8), 4)
    expected = torch.cat(noises[2:]).cpu()
    assert torch.equal(there.noise(visits, (1, 4, 4)).double(), expected)
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("device", ["cpu", DEVICE], ids=str)
def test_it_is_replayed_on_either_device(tmp_path, device):
    trace, _, weights = train(DEVICE, tmp_path)
    case = small_case(train=8, checkpoints=1)
    checkpoints = [retrac.Checkpoint(copy.deepcopy(weights), 0.1, 4)]
    draws = {"train_draws": retrac.Recorded(trace), "query_draws": retrac.Strided(2, seed=2)}
    expected = retrac.DiffusionTracIn(case.model, checkpoints, **draws)
    found = retrac.DiffusionTracIn(case.model, checkpoints, device=device, **draws)
    torch.testing.assert_close(
        found.attribute(case.train, case.queries).values.cpu(),
        expected.attribute(case.train, case.queries).values,
        rtol=1e-10,
        atol=1e-14,
    )


def test_a_batch_is_fetched_as_a_whole(tmp_path):
    """Two steps more of four samples: ids, timesteps, samples are fetched, noise is sent."""
    seen = []
    for steps in (12, 14):
        with watching() as waits:
            train(DEVICE, tmp_path / str(steps), steps)
        seen.append(sum(n for (_, place), n in waits.items() if "/recording/" in place))
    assert 0 < seen[1] - seen[0] <= 2 * 4


class Told:
    def __init__(self):
        self.batches = []

    def diffused(self, samples, noise, timesteps):
        self.batches.append((samples, noise, timesteps()))

    def model_saved(self, directory):
        raise AssertionError(directory)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_scripts_on_the_device_are_watched(dtype):
    """``add_noise`` with timesteps of the device, integers or real numbers."""
    told, scheduler = Told(), DDPMScheduler()
    images, noise = torch.ones(3, 1, 4, 4, device=DEVICE), torch.ones(3, 1, 4, 4, device=DEVICE)
    timesteps = torch.tensor([3, 500, 999], device=DEVICE)
    with watching_diffusers(told) as watch:
        watch.look()
        scheduler.add_noise(images, noise, timesteps)
    ((samples, seen, positions),) = told.batches
    assert samples.device == seen.device == DEVICE
    assert positions.tolist() == [3, 500, 999]
    if dtype.is_floating_point:
        from retrac_plugin.recording.diffusing import as_positions

        table = torch.arange(999, -1, -1)
        assert as_positions(timesteps.to(dtype), table).tolist() == [996, 499, 0]
