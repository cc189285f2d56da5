"""Queries' gradients at other weights than the training set's."""

from dataclasses import replace

import pytest
import torch

from retrac_plugin import DiffusionTracIn, Given
from tests.small import small_case

CASE = small_case(train=3, queries=2, checkpoints=2)
NOISE = torch.randn(1, 3, 1, 4, 4, dtype=torch.float64, generator=torch.manual_seed(0))
QUERY_NOISE = torch.randn(1, 2, 1, 1, 1, 4, 4, dtype=torch.float64, generator=torch.manual_seed(1))
TIMESTEPS = torch.tensor([[5, 50, 95]])


def gradient(state, sample, timestep, noise):
    """The gradient of one sample's loss by plain autograd."""
    values = {name: value.clone().requires_grad_() for name, value in state.items()}
    noisy = CASE.model.diffuse(sample[None], torch.tensor([timestep]), noise[None], {})
    CASE.model.losses({}, values, noisy).sum().backward()
    return torch.cat([value.grad.flatten() for value in values.values()])


@pytest.fixture
def attributor():
    train, query = (checkpoint.load() for checkpoint in CASE.checkpoints)
    mixed = replace(CASE.checkpoints[0], parameters=train, query_parameters=query)
    return DiffusionTracIn(
        CASE.model,
        [mixed],
        train_draws=Given(TIMESTEPS, NOISE),
        query_draws=Given(torch.tensor([40]), QUERY_NOISE),
    )


def test_scores_multiply_gradients_at_either_weights(attributor):
    values = attributor.attribute(CASE.train, CASE.queries).values
    (mixed,) = attributor.checkpoints
    for q, query in enumerate(CASE.queries):
        of_query = gradient(mixed.query_parameters, query, 40, QUERY_NOISE[0, q, 0, 0])
        for i, sample in enumerate(CASE.train):
            own = gradient(mixed.parameters, sample, int(TIMESTEPS[0, i]), NOISE[0, i])
            expected = mixed.step_size * own @ of_query
            torch.testing.assert_close(values[q, i], expected, rtol=1e-9, atol=0)


def test_self_influence_takes_the_query_role_at_the_queries_weights(attributor):
    draws = Given(torch.tensor([40]), NOISE[:, :, None, None])
    values = attributor.self_influence(CASE.train, query_draws=draws)
    (mixed,) = attributor.checkpoints
    for i, sample in enumerate(CASE.train):
        own = gradient(mixed.parameters, sample, int(TIMESTEPS[0, i]), NOISE[0, i])
        other = gradient(mixed.query_parameters, sample, 40, NOISE[0, i])
        expected = mixed.step_size * own @ other
        torch.testing.assert_close(values[i], expected, rtol=1e-9, atol=0)
