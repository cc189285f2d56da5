"""What an attribution costs on the pretend device: waits of its queries, and what it holds."""

import gc

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from tests.pretend.device import install
from tests.pretend.watch import Memory, watching
from tests.small import small_case

DEVICE = install()
DRAWS = {
    "train_draws": retrac.Uniform(1, seed=1),
    "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
}


def make(model, checkpoints, **options):
    settings = {"batch_size": 4, "device": DEVICE, "progress": False, **DRAWS, **options}
    return retrac.DiffusionReTrac(model, checkpoints, **settings)


def waits(train=8, queries=2):
    case = small_case(train=train, queries=queries)
    attributor = make(case.model, case.checkpoints)
    with watching() as seen:
        attributor.attribute(case.train, case.queries)
    return seen


def test_a_query_costs_a_bounded_number_of_waits():
    """A query's six draws are two batches at each of two checkpoints."""
    more = waits(queries=6) - waits(queries=2)
    assert sum(more.values()) <= 4 * 2 * 2 * 10, more


class Wide(nn.Sequential):
    """A denoiser of points with weights that take more memory than anything else."""

    def __init__(self):
        super().__init__(nn.Linear(4, 5000), nn.Tanh(), nn.Linear(5000, 3))

    def forward(self, noisy, timesteps):
        return super().forward(torch.cat([noisy, timesteps[:, None].to(noisy) / 100], dim=1))


CALLS = {
    "attribute": lambda ours, points: ours.attribute(points, points[:2]),
    "self-influence": lambda ours, points: ours.self_influence(points),
    "own queries": lambda ours, points: ours.self_influence(points, retrac.Strided(1)),
}


def held(call, checkpoints, times=1):
    """Return the most bytes held during calls, and those held after them, over the weights'."""
    network = Wide().eval()
    model = retrac.wrap(network, retrac.VariancePreserving(torch.linspace(0.999, 0.01, 100)))
    series = [retrac.Checkpoint(network.state_dict(), 0.1, k) for k in range(checkpoints)]
    ours = make(model, series, max_memory="8GB", query_draws=retrac.Strided(1, noise_draws=2))
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    gc.collect()
    gc.disable()  # what only a search for circles would free is held
    try:
        before = Memory.held
        Memory.start_over()
        for _ in range(times):
            call(ours, points)
        weights = sum(p.numel() * p.element_size() for p in network.parameters())
        return (Memory.peak - before) / weights, (Memory.held - before) / weights
    finally:
        gc.enable()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_checkpoints_take_their_turn_in_memory(call):
    """Three take what one takes: weights, query gradients and scores of one checkpoint."""
    (one, left), (three, still_left) = held(call, 1), held(call, 3)
    assert three <= 1.01 * one
    assert left == still_left == 0


def test_nothing_is_left_after_ten_calls():
    assert held(CALLS["attribute"], 1, times=10)[1] == 0
