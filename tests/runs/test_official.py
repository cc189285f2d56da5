"""The paper's own checkpoints: read safely, replayed by sample, without that code's faults."""

import os

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, InputError, TraceError
from tests import textbook
from tests.golden import assert_equal
from tests.small import SmallDenoiser

SCHEDULE = retrac.VariancePreserving(torch.linspace(0.999, 0.01, 100))
COUNT, BATCH, EPOCHS = 6, 2, (2, 5)


class Official(nn.Module):
    """A network that answers as the official code's does."""

    def __init__(self):
        super().__init__()
        self.inner = SmallDenoiser()

    def forward(self, noisy, timesteps):
        return {"sample": self.inner(noisy, timesteps)}


def wrap():
    return retrac.wrap(
        Official().double().eval(),
        SCHEDULE,
        loss="l1",
        predict=lambda call, noisy, timesteps, conditions: call(noisy, timesteps)["sample"],
    )


@pytest.fixture
def epochs(tmp_path):
    """Write what train.py saves, and return its folder and what the files hold."""
    generator = torch.Generator().manual_seed(0)
    written = {}
    for epoch in EPOCHS:
        torch.manual_seed(epoch)
        written[epoch] = {
            "model_state": Official().double().state_dict(),
            "timesteps": torch.randint(100, (COUNT // BATCH, BATCH), generator=generator),
            "noise": torch.randn(COUNT // BATCH, BATCH, 1, 4, 4, generator=generator),
            "batch": [b.tolist() for b in torch.randperm(COUNT, generator=generator).split(BATCH)],
        }
        torch.save(written[epoch], tmp_path / f"ckpt_{epoch}_2.pth")
    torch.save({"losses": [1.0]}, tmp_path / "losses")
    return tmp_path, written


def test_checkpoints_stand_for_their_epochs(epochs):
    directory, written = epochs
    run = retrac.read_run(directory, model=wrap(), arguments={"learning_rate": 0.1})
    assert [c.step for c in run.checkpoints] == [2, 5]
    assert [c.step_size for c in run.checkpoints] == pytest.approx([0.1 * 2, 0.1 * 3])
    for checkpoint, epoch in zip(run.checkpoints, EPOCHS, strict=True):
        expected = written[epoch]["model_state"]
        loaded = checkpoint.load()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert "recorded, and replayed" in run.description


def visits_of(written, images):
    """Find each image's timestep and noise by searching the batches, as the paper's code does."""
    found = []
    for i, image in enumerate(images):
        ((step, k),) = (
            (step, batch.index(i)) for step, batch in enumerate(written["batch"]) if i in batch
        )
        noise = written["noise"][step, k].double()
        found.append(({"sample": image}, written["timesteps"][step, k], noise))
    return found


def test_every_sample_gets_its_own_timestep_and_noise(epochs):
    directory, written = epochs
    run = retrac.read_run(directory, model=wrap(), arguments={"learning_rate": 0.1})
    images = torch.rand(COUNT, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    query_noise = torch.randn(2, 1, 2, 1, 1, 4, 4, dtype=torch.float64)
    scores = retrac.DiffusionReTrac(
        run.model,
        run.checkpoints,
        train_draws=run.train_draws,
        query_draws=retrac.Given(torch.tensor([20, 70]), query_noise),
    ).attribute(images, images[:1])
    expected = textbook.influence(
        textbook.loss_function(
            lambda noisy, t: run.model.network(noisy, t)["sample"],
            SCHEDULE.alphas_cumprod,
            loss="l1",
        ),
        run.model.network,
        [(written[2]["model_state"], 0.2), (written[5]["model_state"], 0.3)],
        [visits_of(written[epoch], images) for epoch in EPOCHS],
        [
            [({"sample": images[0]}, list(zip([20, 70], noise[0], strict=True)))]
            for noise in query_noise
        ],
        textbook.direction,
    )
    assert_equal(scores.values, expected)


def test_a_sample_of_no_batch_is_named_instead_of_given_anothers_timestep(epochs):
    directory, _ = epochs
    run = retrac.read_run(directory, model=wrap())
    attributor = retrac.DiffusionTracIn(
        run.model, run.checkpoints[1:], train_draws=run.train_draws, query_draws=retrac.Strided(2)
    )
    images = torch.rand(COUNT + 1, 1, 4, 4).double()
    with pytest.raises(
        TraceError, match=r"sample 6 was in no batch of the epoch that ckpt_5_2\.pth"
    ):
        attributor.attribute(images, images[:1])


def test_the_network_must_be_brought(epochs):
    directory, _ = epochs
    with pytest.raises(InputError, match=r"describe no network and keep no EMA .*: pass model="):
        retrac.read_run(directory)
    with pytest.raises(InputError, match="weights='raw'"):
        retrac.read_run(directory, model=wrap(), weights="ema")


def test_a_missing_learning_rate_is_said(epochs):
    directory, _ = epochs
    run = retrac.read_run(directory, model=wrap())
    assert [c.step_size for c in run.checkpoints] == [2.0, 3.0]
    assert "step sizes: taken as epochs" in run.description


def test_a_malicious_file_is_refused_and_runs_nothing(epochs, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    directory, written = epochs
    path = next(directory.glob("ckpt_2_*.pth"))
    torch.save({**written[2], "noise": Bomb()}, path)
    run = retrac.read_run(directory, model=wrap())
    with pytest.raises(CheckpointError, match="refused to unpickle"):
        run.checkpoints[0].load()
    assert not (tmp_path / "owned").exists()


def test_a_file_of_another_kind_is_refused(epochs):
    directory, written = epochs
    torch.save(written[2]["model_state"], next(directory.glob("ckpt_2_*.pth")))
    run = retrac.read_run(directory, model=wrap())
    with pytest.raises(CheckpointError, match=r"missing are model_state, timesteps, noise, batch"):
        run.checkpoints[0].load()


def test_a_file_that_contradicts_itself_is_refused(epochs):
    directory, written = epochs
    written[5]["batch"].pop()
    torch.save(written[5], next(directory.glob("ckpt_5_*.pth")))
    run = retrac.read_run(directory, model=wrap())
    attributor = retrac.DiffusionTracIn(
        run.model, run.checkpoints[1:], train_draws=run.train_draws, query_draws=retrac.Strided(2)
    )
    images = torch.rand(2, 1, 4, 4).double()
    with pytest.raises(TraceError, match="names 4 samples for 6 timesteps and 6 noises"):
        attributor.attribute(images, images[:1])
