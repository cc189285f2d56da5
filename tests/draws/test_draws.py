from dataclasses import replace

import pytest
import torch

from retrac_plugin import Given, Recorded, Shared, Strided, Trace, Uniform
from retrac_plugin.draws import Request
from retrac_plugin.draws.redrawing import with_other_draws
from retrac_plugin.errors import InputError, TraceError
from retrac_plugin.trace.kept_rows import KeptRows
from retrac_plugin.trace.parts import CHANGING

OWN = [Strided(5, noise_draws=3), Uniform(2)]
"""Rules that give each sample noise of its own."""
RULES = [*OWN, Shared(5, noise_draws=3)]
"""The rules that make their own noise; what holds for every one of them is tested below."""
every_rule = pytest.mark.parametrize("draws", RULES)


def request(keys=(11, 22, 33), side="train", checkpoint=0, step=5, num_timesteps=100):
    ids = list(range(len(keys)))
    shape = torch.Size((1, 4, 4))
    return Request(ids, list(keys), shape, side, 50, checkpoint, step, num_timesteps)


@every_rule
def test_shapes(draws):
    timesteps_each, noise_each = draws.per_sample()
    drawn = draws.draw(request())
    assert drawn.timesteps.shape == (3, timesteps_each)
    assert drawn.timesteps.dtype == torch.int64
    assert drawn.noise.shape == (3, timesteps_each, noise_each, 1, 4, 4)


@every_rule
def test_repeats_draw_other_noise(draws):
    """A rule without a ``seed`` would repeat itself, and standard errors would be too small."""
    other = with_other_draws(draws, 1).draw(request())
    assert not (draws.draw(request()).noise == other.noise).any()


@every_rule
def test_a_sample_draws_the_same_alone_and_in_any_order(draws):
    together = draws.draw(request())
    alone = draws.draw(request(keys=(33,)))
    assert torch.equal(together.timesteps[2], alone.timesteps[0])
    assert torch.equal(together.noise[2], alone.noise[0])


@pytest.mark.parametrize("draws", OWN)
@pytest.mark.parametrize("change", [{"side": "query"}, {"step": 6}, {"keys": (1, 2, 3)}])
def test_noise_differs_between_sides_checkpoints_and_samples(draws, change):
    same = draws.draw(request()).noise == draws.draw(request(**change)).noise
    assert not same.any()


def test_noise_differs_between_seeds_timesteps_and_draws():
    noise = Strided(4, noise_draws=2, seed=0).draw(request()).noise
    assert not (noise == Strided(4, noise_draws=2, seed=1).draw(request()).noise).any()
    assert noise.flatten(0, 2).flatten(1).unique(dim=0).shape[0] == 3 * 4 * 2


@pytest.mark.parametrize("change", [{"side": "query"}, {"step": 6}, {"keys": (1, 2, 3)}])
def test_shared_noise_is_that_of_all_sides_checkpoints_and_samples(change):
    noise = Shared(3, noise_draws=2).draw(request()).noise
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise, Shared(3, noise_draws=2).draw(request(**change)).noise)


def test_shared_noise_differs_between_seeds_timesteps_and_draws():
    noise = Shared(4, noise_draws=2).draw(request()).noise
    assert not (noise == Shared(4, noise_draws=2, seed=1).draw(request()).noise).any()
    assert noise[0].flatten(0, 1).flatten(1).unique(dim=0).shape[0] == 4 * 2
    strided = Strided(4, noise_draws=2).draw(request())
    assert not (noise == strided.noise).any()
    assert torch.equal(Shared(4).draw(request()).timesteps, strided.timesteps)


def test_strided_takes_the_middles_of_equal_stretches():
    assert Strided(5).draw(request()).timesteps[0].tolist() == [10, 30, 50, 70, 90]
    assert Strided(1).draw(request()).timesteps[0].tolist() == [50]
    everything = Strided(100).draw(request()).timesteps[0]
    assert everything.tolist() == list(range(100))


def test_uniform_covers_the_schedule():
    keys = tuple(range(5000))
    timesteps = Uniform(1).draw(request(keys=keys, num_timesteps=10)).timesteps
    counts = torch.bincount(timesteps.flatten(), minlength=10)
    assert len(counts) == 10
    assert (counts - 500).abs().max() < 100


def test_strided_refuses_more_timesteps_than_there_are():
    with pytest.raises(InputError, match=r"Strided\(101\) .* \(100\)"):
        Strided(101).draw(request())


@pytest.mark.parametrize(
    "make", [lambda: Strided(0), lambda: Strided(1, 0), lambda: Uniform(0), lambda: Shared(0)]
)
def test_nothing_to_draw_is_refused(make):
    with pytest.raises(InputError, match="must be at least 1, got 0"):
        make()


def test_given_on_the_query_side():
    timesteps, noise = torch.tensor([3, 7]), torch.rand(2, 3, 2, 4, 1, 4, 4)
    draws = Given(timesteps, noise)
    assert draws.per_sample() == (2, 4)
    drawn = draws.draw(request(checkpoint=1))
    assert drawn.timesteps.tolist() == [[3, 7]] * 3
    assert torch.equal(drawn.noise, noise[1])


def test_given_on_the_train_side():
    timesteps, noise = torch.arange(6).view(2, 3), torch.rand(2, 3, 1, 4, 4)
    draws = Given(timesteps, noise)
    assert draws.per_sample() == (1, 1)
    drawn = draws.draw(request(checkpoint=1))
    assert drawn.timesteps.tolist() == [[3], [4], [5]]
    assert torch.equal(drawn.noise[:, 0, 0], noise[1])


@pytest.mark.parametrize(
    ("timesteps", "noise"),
    [((2,), (2, 3, 5, 4, 1, 4, 4)), ((2, 3), (2, 4, 1, 4, 4)), ((2, 3, 1), (2, 3, 1)), ((), (3,))],
)
def test_given_refuses_shapes_that_do_not_agree(timesteps, noise):
    with pytest.raises(InputError, match=r"Given: expected timesteps \[T\]"):
        Given(torch.zeros(timesteps, dtype=torch.int64), torch.zeros(noise))


def test_given_refuses_samples_and_shapes_that_it_does_not_hold():
    draws = Given(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, 1, 4, 4))
    with pytest.raises(InputError, match="2 checkpoints and 2 samples"):
        draws.draw(request())
    draws = Given(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, 1, 5, 5))
    with pytest.raises(InputError, match=r"shaped \(1, 5, 5\)"):
        draws.draw(request())


def test_uniform_follows_the_distribution_of_the_objective():
    asked = request(keys=range(400), num_timesteps=1000)
    skewed = asked._replace(timestep_distribution=lambda uniforms: uniforms**2)
    plain = Uniform(2).draw(asked).timesteps
    timesteps = Uniform(2).draw(skewed).timesteps
    assert timesteps.shape == (400, 2)
    assert (timesteps <= plain).all()
    assert timesteps.double().mean() == pytest.approx(1000 / 3, rel=0.1)


@every_rule
def test_a_noise_offset_moves_whole_channels(draws):
    asked = request()._replace(shape=torch.Size((3, 4, 4)))
    plain = draws.draw(asked)
    moved = draws.draw(asked._replace(noise_offset=0.5))
    assert torch.equal(moved.timesteps, plain.timesteps)
    offsets = (moved.noise - plain.noise).flatten(-2)
    torch.testing.assert_close(offsets, offsets[..., :1].expand_as(offsets))
    numbers = offsets[..., 0]
    assert len(numbers[0].unique()) == numbers[0].numel()
    assert 0.2 < numbers.std() < 0.9


def test_samples_that_changed_are_those_of_the_visit():
    trace = kept_trace()
    asked = request(step=2)._replace(dataset_size=3)
    drawn = Recorded(trace).draw(asked)
    assert torch.equal(drawn.samples[:, 0], trace.kept["samples"].files[0])
    noise_alone = replace(trace, kept={"noise": trace.kept["noise"]})
    assert Recorded(noise_alone).draw(asked).samples is None


def kept_trace():
    """Three samples, each visited once, with noise and samples kept."""
    ids, rows = torch.arange(3), torch.rand(2, 3, 1, 4, 4)
    kept = {
        name: KeptRows(name, [rows[i]], torch.zeros_like(ids), ids)
        for i, name in enumerate(("noise", "samples"))
    }
    return Trace(
        ids=ids,
        timesteps=ids,
        steps=torch.tensor([0, 0, 1]),
        draws=ids,
        step_sizes=torch.ones(3).double(),
        keys=torch.full((3,), CHANGING),
        seed=0,
        noise_origin="kept",
        kept=kept,
    )


def test_files_are_those_whose_names_were_recorded():
    trace = replace(kept_trace(), names=("a.png", "b.png", "a.png"))
    trace.check_names(["x/a.png", "x/b.png", "y/a.png"])
    trace.check_names(["0", "1", "2"])  # rows of a file of tensors have numbers
    with pytest.raises(TraceError, match=r"sample 1 is 'c.png', but training saw 'b.png'"):
        trace.check_names(["a.png", "c.png", "a.png"])
