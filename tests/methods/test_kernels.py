"""The methods by kernels against plain loops, and what they must not depend on."""

import copy
import math

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.methods.activations import later_layers, untrained
from retrac_plugin.methods.kernel_ridge import Limit
from retrac_plugin.methods.setting import Gradients
from retrac_plugin.methods.timestep_kernels import RetracKernel
from tests.methods import textbook_kernels as textbook
from tests.small import small_case

SHARED = retrac.Shared(3, noise_draws=2, seed=2)
OWN = retrac.Strided(3, noise_draws=2, seed=2)
EXACT = {"rtol": 1e-8, "atol": 1e-12}
LAST = 1
LAYERS = ["time", "leave"]
"""The second half of the small network's children."""
METHODS = ["retrac-kernel", "retrac-ridge", "activation-kernel", "untrained-kernel"]
ALL = [*METHODS, "retrac-paired", "pixel-kernel"]


@pytest.fixture(scope="module")
def case():
    return small_case()


def scores(name, case, draws=SHARED, **options):
    attributor = plugins.get_attributor(name)(
        case.model, case.checkpoints, query_draws=draws, **options
    )
    return attributor.attribute(case.train, case.queries).values


@pytest.mark.parametrize("draws", [SHARED, OWN], ids=["shared", "own"])
@pytest.mark.parametrize(
    ("name", "known", "kernel"),
    [
        ("retrac-kernel", textbook.of_gradient(textbook.probe), textbook.cubic),
        ("retrac-ridge", textbook.of_gradient(textbook.probe), textbook.linear),
        ("activation-kernel", textbook.of_layers(LAYERS), textbook.cubic),
    ],
)
def test_kernels_equal_the_textbook(case, name, known, kernel, draws):
    sides = textbook.directions(case, draws, LAST, known)
    expected = textbook.over_timesteps(*sides, kernel, damping=0.3)
    torch.testing.assert_close(scores(name, case, draws, damping=0.3), expected, **EXACT)


def test_the_untrained_control_equals_the_textbook_of_a_fresh_network(case):
    fresh = copy.deepcopy(case)
    fresh.checkpoints[LAST] = retrac.Checkpoint(untrained(case.network), 1.0)
    sides = textbook.directions(fresh, SHARED, LAST, textbook.of_layers(LAYERS))
    expected = textbook.over_timesteps(*sides, textbook.cubic, damping=1.0)
    torch.testing.assert_close(scores("untrained-kernel", case), expected, **EXACT)


def test_pairs_of_timesteps_equal_the_textbook(case):
    expected = sum(
        checkpoint.step_size
        * textbook.paired_cosines(
            *textbook.directions(case, SHARED, k, textbook.of_gradient(textbook.loss))
        )
        for k, checkpoint in enumerate(case.checkpoints)
    )
    torch.testing.assert_close(scores("retrac-paired", case), expected, **EXACT)


def test_the_control_on_pixels_equals_the_textbook(case):
    expected = textbook.pixels(case.train, case.queries)
    torch.testing.assert_close(scores("pixel-kernel", case), expected, **EXACT)


def test_a_control_on_pixels_of_one_image_or_of_equal_ones_is_finite():
    for train in ([torch.ones(1, 4, 4)], [torch.ones(1, 4, 4)] * 3):
        case = small_case()
        case.train = train
        assert scores("pixel-kernel", case).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_the_training_set_permutes_the_scores(case, name):
    order = [3, 0, 6, 1, 5, 2, 4]
    other = copy.deepcopy(case)
    other.train = [case.train[i] for i in order]
    torch.testing.assert_close(scores(name, other), scores(name, case)[:, order], **EXACT)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_the_batch_size_changes_no_score(case, name, batch_size):
    """Less than a sample's six draws too: its timesteps then come one after the other."""
    few = scores(name, case, batch_size=batch_size)
    torch.testing.assert_close(few, scores(name, case), **EXACT)


def test_a_gradient_that_is_rescaled_moves_no_score(case):
    """Norms go at each timestep: a loss of another size has gradients of the same direction."""
    larger = copy.deepcopy(case)
    larger.network.leave.weight.requires_grad_(False)
    case = copy.deepcopy(larger)
    state = larger.checkpoints[LAST].parameters
    doubled = {**state, "leave.weight": 2 * state["leave.weight"]}
    doubled["enter.weight"], doubled["enter.bias"] = state["enter.weight"], state["enter.bias"]
    larger.checkpoints[LAST] = retrac.Checkpoint(doubled, 1.0)
    chosen = [each.model.attributing("enter.*", "time.*") for each in (case, larger)]
    found = [
        RetracKernel(model, each.checkpoints, query_draws=SHARED)
        .attribute(each.train, each.queries)
        .values
        for model, each in zip(chosen, (case, larger), strict=True)
    ]
    torch.testing.assert_close(*found, **EXACT)


@pytest.mark.parametrize("name", ["retrac-kernel", "retrac-ridge"])
def test_more_numbers_a_timestep_bring_the_scores_nearer(case, name):
    """The projection converges: 8,192 buckets hold the small network's gradients exactly."""
    exact = scores(name, case, gradients=Gradients(projection=CountSketch(8192)))
    errors = [
        sum(
            float((scores(name, case, gradients=_sketched(d, seed)) - exact).norm())
            for seed in range(6)
        )
        for d in (8, 64)
    ]
    assert errors[1] < 0.7 * errors[0]


def _sketched(dimension, seed):
    return Gradients(projection=CountSketch(dimension, seed))


def test_a_training_set_too_large_for_its_matrix_is_refused_before_the_work(case, monkeypatch):
    monkeypatch.setattr(RetracKernel, "limit", Limit("retrac-ridge", samples=6))
    with pytest.raises(InputError, match="at most 6 training samples, got 7"):
        scores("retrac-kernel", case)
    assert scores("retrac-ridge", case).shape == (3, 7)


@pytest.mark.parametrize("damping", [0, -1.0, math.nan])
def test_a_damping_that_inverts_nothing_is_refused(case, damping):
    with pytest.raises(InputError, match="damping must be more than 0"):
        scores("retrac-ridge", case, damping=damping)


def test_fresh_weights_depend_on_nothing_but_the_seed():
    network = small_case().network
    first, second = untrained(network), untrained(small_case(seed=9).network)
    assert first.keys() == dict(network.named_parameters()).keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = untrained(network, seed=1)
    assert all(not torch.equal(first[name], other[name]) for name in first)
    assert not any(torch.equal(first[n], p) for n, p in network.named_parameters())


def test_a_parameter_that_no_module_draws_is_drawn():
    network = nn.Module()
    network.token = nn.Parameter(torch.full((1000,), 7.0))
    assert untrained(network)["token"].std().item() == pytest.approx(0.02, rel=0.2)


def test_later_layers_are_the_up_blocks_or_the_second_half_of_the_blocks():
    network = nn.Module()
    network.up_blocks = nn.ModuleList([nn.Identity(), nn.Identity()])
    network.blocks = nn.ModuleList([nn.Identity() for _ in range(5)])
    wrapper = nn.Module()
    wrapper.module = network
    assert later_layers(network) == later_layers(wrapper) == list(network.up_blocks)
    del network.up_blocks
    assert later_layers(network) == list(network.blocks)[2:]


def test_a_network_without_layers_is_refused():
    with pytest.raises(InputError, match="neither up_blocks nor a list of blocks"):
        later_layers(nn.Linear(2, 2))
