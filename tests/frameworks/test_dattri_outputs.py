"""Output functions, each against its definition."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri import OUTPUTS
from tests.frameworks.dattri_tools import EXACT, task_of
from tests.small import small_case

BETAS = torch.linspace(1e-3, 0.02, 100, dtype=torch.float64)


def weight(t):
    """``beta_t / (2 alpha_t (1 - abar_t))``."""
    alpha = 1 - BETAS[t]
    return BETAS[t] / (2 * alpha * (1 - (1 - BETAS)[: t + 1].prod()))


DEFINITIONS = {
    "loss": lambda f, eps, t: ((f - eps) ** 2).mean(),
    "mean-squared-l2-norm": lambda f, eps, t: (f**2).mean(),
    "mean": lambda f, eps, t: f.mean(),
    "l1-norm": lambda f, eps, t: f.abs().sum(),
    "l2-norm": lambda f, eps, t: (f**2).sum().sqrt(),
    "linf-norm": lambda f, eps, t: f.abs().max(),
    "weighted-mse": lambda f, eps, t: weight(t) * ((f - eps) ** 2).mean(),
}


def case_with_known_betas():
    case = small_case()
    case.schedule = retrac.VariancePreserving((1 - BETAS).cumprod(0))
    return case


def value(case, output, timestep, eps):
    task = task_of(case, target=output)
    data = (case.queries[0], torch.tensor(timestep), eps)
    task.get_param(0)
    function = task.get_target_func(flatten=False)
    return function(dict(task.get_model().named_parameters()), data)


def prediction(case, timestep, eps):
    case.network.load_state_dict(case.checkpoints[0].parameters)
    abar = case.schedule.alphas_cumprod[timestep]
    noisy = abar.sqrt() * case.queries[0] + (1 - abar).sqrt() * eps
    return case.network(noisy[None], torch.tensor([timestep]))[0]


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("timestep", [0, 1, 60])
def test_an_output_function_is_its_definition(name, timestep):
    case = case_with_known_betas()
    eps = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = DEFINITIONS[name](prediction(case, timestep, eps), eps, timestep)
    torch.testing.assert_close(value(case, name, timestep, eps), expected, **EXACT)


def test_all_of_them_are_tested():
    assert set(DEFINITIONS) == set(OUTPUTS)


def test_a_function_of_ones_own():
    case = case_with_known_betas()
    eps = torch.ones(1, 4, 4, dtype=torch.float64)
    output = value(case, lambda prediction, target: prediction**3 - target, 9, eps)
    expected = (prediction(case, 9, eps) ** 3 - eps).mean()
    torch.testing.assert_close(output, expected, **EXACT)


def test_the_two_sides_may_have_different_ones():
    case = case_with_known_betas()
    task = task_of(case, target="mean", train_target="l2-norm")
    eps = torch.zeros(1, 4, 4, dtype=torch.float64)
    data = (case.queries[0], torch.tensor(3), eps)
    task.get_param(0)
    parameters = dict(task.get_model().named_parameters())
    values = [
        f(flatten=False)(parameters, data) for f in (task.get_target_func, task.get_loss_func)
    ]
    own = prediction(case, 3, eps)
    torch.testing.assert_close(torch.stack(values), torch.stack([own.mean(), own.norm()]), **EXACT)


def test_an_unknown_one_names_those_there_are():
    with pytest.raises(InputError, match="unknown output function 'logit': expected one of loss, "):
        task_of(small_case(), target="logit")
