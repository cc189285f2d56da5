"""What docs/reference/hooks.md says can be written from it alone: its own code, run."""

import re
from pathlib import Path

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.metrics import Evidence
from tests.small import small_case

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "hooks.md"

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="the docs are not part of the installed package"
)
DRAWS = {
    "train_draws": retrac.Uniform(1, seed=1),
    "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
}


def written(name):
    """Run the page's block that defines a name, and return what it defines."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (b for b in blocks if f"class {name}" in b or f"def {name}" in b)
    scope = {}
    exec(code, scope)
    return scope[name]


@pytest.mark.parametrize("classes", [None, 3])
def test_a_method_from_losses_and_gradients_is_tracin(classes):
    case = small_case(classes=classes)
    given = case.model, case.checkpoints
    plain = written("PlainTracIn")(*given, batch_size=4, **DRAWS)
    expected = retrac.DiffusionTracIn(*given, **DRAWS).attribute(case.train, case.queries)
    found = plain.attribute(case.train, case.queries)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-9, atol=1e-12)


def test_a_metric_from_evidence():
    values = torch.eye(2).repeat(1, 5)  # query q names samples q, q + 2, ...
    labels = torch.tensor([0, 1]).repeat(5)
    known = Evidence(train_labels=labels, query_labels=torch.tensor([0, 0]))
    assert written("purity")(values, known).item() == 0.5


def test_a_model_that_is_told_noise_levels():
    """The prediction of a network that returns nothing is ``x_t / (sigma^2 + 1)``."""
    network = torch.nn.Linear(2, 2).double()
    network.forward = lambda noisy, sigma: 0 * torch.nn.functional.linear(noisy, network.weight)
    network.takes_sigma = True
    sigmas = torch.tensor([0.5, 2.0], dtype=torch.float64)
    wrapped = written("retrac_wrap_model")(network, sigmas)
    model = retrac.DiffusionModel.build(network, wrapped.predict, wrapped.schedule)
    x, noise = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.ones(2, 2).double()
    timesteps = torch.tensor([0, 1])
    noisy = x + sigmas[timesteps][:, None] * noise
    expected = (noisy / (sigmas[timesteps][:, None] ** 2 + 1) - x).square().mean(1)
    batch = model.diffuse(x, timesteps, noise, {})
    losses = model.losses({}, dict(network.named_parameters()), batch)
    torch.testing.assert_close(losses.detach(), expected)


def test_what_the_page_imports_is_public():
    for name in ("TaskEntry", "CommandEntry", "RunRequest", "WrappedModel", "NoiseLevels"):
        assert name in retrac.__all__
        assert hasattr(retrac, name)
