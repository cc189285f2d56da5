"""Attribution by unlearning against plain loops, and its limit."""

import copy

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.methods.unlearning import Unlearning
from tests.methods import textbook
from tests.small import small_case

DRAWS = retrac.Shared(3, noise_draws=2, seed=2)
EXACT = {"rtol": 1e-7, "atol": 1e-12}
LAST = 1


@pytest.fixture(scope="module")
def case():
    return small_case()


def scores(case, **options):
    method = Unlearning(case.model, case.checkpoints, query_draws=DRAWS, **options)
    return method.attribute(case.train, case.queries).values


def steps_of(case, step, damping):
    """How far each query moves the parameters, flat."""
    train, queries = textbook.features(case, DRAWS, LAST)
    fisher = sum(g**2 for g in train) / len(train)
    theta = torch.cat([p.detach().flatten() for p in case.network.parameters()])
    found = [g / (fisher + damping * fisher.mean()) for g in queries]
    return theta, train, [step * theta.norm() * d / d.norm() for d in found]


def loss_at(case, theta, i):
    """One training sample's mean loss with flat parameters."""
    torch.nn.utils.vector_to_parameters(theta, case.network.parameters())
    timesteps, noise, _ = DRAWS.draw(textbook.request_of(case, LAST, "train", i, case.train[i]))
    with torch.no_grad():
        own = [
            textbook.output_of(case, "loss", case.train[i], t, eps)
            for t, noises in zip(timesteps[0], noise[0].double(), strict=True)
            for eps in noises
        ]
    return torch.stack(own).mean()


@pytest.mark.parametrize(("step", "damping"), [(0.01, 1.0), (0.1, 0.3)])
def test_scores_equal_the_textbook(case, step, damping):
    theta, _, steps = steps_of(copy.deepcopy(case), step, damping)
    other = copy.deepcopy(case)
    expected = torch.stack(
        [
            torch.stack([loss_at(other, theta + s, i) - loss_at(other, theta, i) for i in range(7)])
            for s in steps
        ]
    )
    torch.testing.assert_close(scores(case, step=step, damping=damping), expected, **EXACT)


def test_small_steps_give_the_influence_function_of_the_fisher_diagonal(case):
    """The error of the first-order term shrinks as the step does."""
    errors = []
    for step in (1e-2, 1e-3, 1e-4):
        _, train, steps = steps_of(copy.deepcopy(case), step, 1.0)
        expected = torch.stack([torch.stack([torch.dot(s, g) for g in train]) for s in steps])
        found = scores(case, step=step, damping=1.0)
        errors.append(float((found - expected).norm() / expected.norm()))
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.2 * errors[1]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_changes_no_score(case, batch_size):
    torch.testing.assert_close(scores(case, batch_size=batch_size), scores(case), **EXACT)


def test_the_order_of_the_training_set_permutes_the_scores(case):
    order = [3, 0, 6, 1, 5, 2, 4]
    other = copy.deepcopy(case)
    other.train = [case.train[i] for i in order]
    torch.testing.assert_close(scores(other), scores(case)[:, order], **EXACT)


def test_only_attributed_parameters_are_moved(case):
    """A parameter that is not attributed might as well not be trained."""
    frozen = copy.deepcopy(case)
    for name, parameter in frozen.network.named_parameters():
        parameter.requires_grad_(name.startswith("leave."))
    model = case.model.attributing("leave.*")
    found, expected = (
        Unlearning(m, case.checkpoints, query_draws=DRAWS, step=0.1)
        .attribute(case.train, case.queries)
        .values
        for m in (model, frozen.model)
    )
    torch.testing.assert_close(found, expected, **EXACT)
    assert not torch.allclose(found, scores(case, step=0.1), rtol=1e-3)


def test_the_network_is_left_as_it_was(case):
    other = copy.deepcopy(case)
    scores(other)
    for name, value in other.network.state_dict().items():
        assert torch.equal(value, case.network.state_dict()[name])


@pytest.mark.parametrize("options", [{"step": 0.0}, {"damping": -1.0}, {"step": float("nan")}])
def test_steps_that_lead_nowhere_are_refused(case, options):
    with pytest.raises(InputError, match=f"{next(iter(options))} must be more than 0"):
        scores(case, **options)


def test_its_passes_are_those_that_the_network_is_led_through(case):
    """But for those of the first batches, which are run again to be checked."""
    other, seen = copy.deepcopy(case), []
    hook = lambda module, inputs: seen.append(len(inputs[0]))  # noqa: E731
    method = Unlearning(other.model, other.checkpoints, query_draws=DRAWS, batch_size=6)
    with torch.no_grad():
        handle = other.network.register_forward_pre_hook(hook)
    try:
        about = method.attribute(other.train, other.queries).about
    finally:
        handle.remove()
    draws, train, queries = 6, len(other.train), len(other.queries)
    assert about["passes"] == draws * (train * (2 + queries) + queries)
    checked = sum(seen) - about["passes"]
    assert 0 <= checked < 20 * draws
