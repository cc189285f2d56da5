"""dattri's own methods, on data that hold the draws, give the scores of ours."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor, DiffusionTracInAttributor
from tests.frameworks.dattri_tools import EXACT, float64, task_of, their_tracin
from tests.small import small_case
from tests.tiny import tiny_case

CASES = {"small": small_case, "unet": tiny_case}
NOISE_DRAWS = [1, 3]

each_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES)
each_count = pytest.mark.parametrize("noise_draws", NOISE_DRAWS)


def both_sides(task, case, noise_draws):
    draws = retrac.Uniform(1, seed=1), retrac.Strided(3, noise_draws, seed=2)
    drawn = task.drawn(case.train, draws[0], "train"), task.drawn(case.queries, draws[1], "query")
    return *draws, *drawn


@each_case
@each_count
def test_their_grad_cos_averaged_over_timesteps_is_retrac(make, noise_draws):
    case = make()
    task = task_of(case)
    train_draws, query_draws, train, queries = both_sides(task, case, noise_draws)
    with float64():
        cosines = their_tracin(task, train, queries.by_timestep(), normalized_grad=True)
    ours = DiffusionReTracAttributor(task, train_draws=train_draws, query_draws=query_draws)
    expected = cosines.view(len(train), len(queries), 3).mean(-1)
    torch.testing.assert_close(ours.attribute(case.train, case.queries), expected, **EXACT)


@each_case
@each_count
def test_their_tracin_on_the_mean_over_draws_is_diffusion_tracin(make, noise_draws):
    case = make()
    task = task_of(case)
    train_draws, query_draws, train, queries = both_sides(task, case, noise_draws)
    with float64():
        expected = their_tracin(task, train, queries, normalized_grad=False)
    ours = DiffusionTracInAttributor(task, train_draws=train_draws, query_draws=query_draws)
    torch.testing.assert_close(ours.attribute(case.train, case.queries), expected, **EXACT)


def test_their_grad_cos_without_the_timesteps_apart_is_another_method():
    """Normalising the mean over timesteps lets the timestep of the longest gradient decide."""
    case = small_case()
    task = task_of(case)
    train_draws, query_draws, train, queries = both_sides(task, case, 2)
    with float64():
        cosines = their_tracin(task, train, queries, normalized_grad=True)
    ours = DiffusionReTracAttributor(task, train_draws=train_draws, query_draws=query_draws)
    scores = ours.attribute(case.train, case.queries)
    assert ((scores - cosines).abs() > 1e-3 * cosines.abs().max()).any()


@each_count
def test_conditions_reach_their_methods(noise_draws):
    case = small_case(classes=4)
    task = task_of(case, conditions=["class_labels"])
    train_draws, query_draws, train, queries = both_sides(task, case, noise_draws)
    with float64():
        expected = their_tracin(task, train, queries, normalized_grad=False)
    ours = DiffusionTracInAttributor(task, train_draws=train_draws, query_draws=query_draws)
    torch.testing.assert_close(ours.attribute(case.train, case.queries), expected, **EXACT)


def test_weights_and_layers_mean_what_they_mean_in_dattri():
    case = small_case()
    task = task_of(case)
    options = {"weights": [3.0, -0.5], "layer_name": ["enter.weight", "leave.bias"]}
    train_draws, query_draws, train, queries = both_sides(task, case, 1)
    with float64():
        expected = their_tracin(task, train, queries, normalized_grad=False, **options)
    ours = DiffusionTracInAttributor(
        task,
        options["weights"],
        layer_name=options["layer_name"],
        train_draws=train_draws,
        query_draws=query_draws,
    )
    torch.testing.assert_close(ours.attribute(case.train, case.queries), expected, **EXACT)
