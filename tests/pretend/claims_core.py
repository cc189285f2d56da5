"""The two methods on the pretend device: the CPU's scores, however they are asked for."""

import dataclasses

import pytest
import torch
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.vmapped import VmapEngine
from retrac_plugin.randomness import content_key
from tests.pretend.device import install
from tests.small import small_case
from tests.tiny import tiny_case

DEVICE = install()
EXACT = {"rtol": 1e-10, "atol": 1e-14}
METHODS = [retrac.DiffusionTracIn, retrac.DiffusionReTrac]

both = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def on(device, method, case, **options):
    draws = {
        "train_draws": retrac.Uniform(1, seed=1),
        "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
    }
    settings = {"batch_size": 4, "device": device, "progress": False, **draws, **options}
    return method(case.model, case.checkpoints, **settings)


def assert_as_on_the_cpu(found, expected):
    assert found.device == DEVICE
    torch.testing.assert_close(found.cpu(), expected, **EXACT)


CASES = {
    "small": small_case,
    "conditional": lambda: small_case(classes=4),
    "unet": lambda: tiny_case(num_train=5, num_queries=1),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_scores_and_norms(make):
    case = make()
    expected, found = (
        retrac.attribute_together(
            [on(device, method, case) for method in METHODS], case.train, case.queries
        )
        for device in ("cpu", DEVICE)
    )
    for there, here in zip(found, expected, strict=True):
        assert_as_on_the_cpu(there.values, here.values)
        assert_as_on_the_cpu(there.gradient_norms, here.gradient_norms)
        assert there.about["fallbacks"] == {}


@both
@pytest.mark.parametrize("query_draws", [None, retrac.Strided(2, seed=5)])
def test_self_influence(method, query_draws):
    case = small_case()
    expected, found = (
        on(device, method, case).self_influence(case.train, query_draws)
        for device in ("cpu", DEVICE)
    )
    assert_as_on_the_cpu(found, expected)


OPTIONS = {
    "a bound on memory": {"max_memory": "1GB"},
    "vmap": {"engine": VmapEngine},
    "given draws": {
        "train_draws": retrac.Given(torch.arange(14).view(2, 7), torch.ones(2, 7, 1, 4, 4))
    },
    "several draws": {"train_draws": retrac.Uniform(3, seed=4)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_scores_with(options):
    case = small_case()
    expected, found = (
        on(device, retrac.DiffusionReTrac, case, **options).attribute(case.train, case.queries)
        for device in ("cpu", DEVICE)
    )
    assert_as_on_the_cpu(found.values, expected.values)


def test_steps_scaled_by_an_optimizer():
    case = small_case()
    scales = {name: p.detach().abs() + 1 for name, p in case.network.named_parameters()}
    case.checkpoints[:] = [
        dataclasses.replace(c, preconditioner=lambda: scales) for c in case.checkpoints
    ]
    expected, found = (
        on(device, retrac.DiffusionTracIn, case).attribute(case.train, case.queries)
        for device in ("cpu", DEVICE)
    )
    assert_as_on_the_cpu(found.values, expected.values)


def to_device(case):
    """All of a user's own on the device: network, weights and data."""
    case.network.to(DEVICE)
    case.checkpoints[:] = [
        dataclasses.replace(c, parameters={n: p.to(DEVICE) for n, p in c.parameters.items()})
        for c in case.checkpoints
    ]
    case.schedule = retrac.VariancePreserving(case.schedule.alphas_cumprod.to(DEVICE))
    case.train[:] = [image.to(DEVICE) for image in case.train]
    case.queries[:] = [image.to(DEVICE) for image in case.queries]
    return case


@both
@pytest.mark.parametrize("form", [list, lambda images: DataLoader(images, batch_size=2)])
def test_data_that_lie_there(method, form):
    """Draws are keyed by a sample's values, wherever they lie."""
    expected = on("cpu", method, case := small_case()).attribute(case.train, case.queries)
    case = to_device(small_case())
    found = on(None, method, case).attribute(form(case.train), case.queries)
    assert_as_on_the_cpu(found.values, expected.values)
    assert content_key(case.train[0]) == content_key(small_case().train[0])


def test_results_are_kept_and_read_anywhere(tmp_path):
    case = small_case()
    found = on(DEVICE, retrac.DiffusionReTrac, case).attribute(case.train, case.queries)
    top = found.proponents(3)
    assert top.values.device == DEVICE
    found.save(tmp_path / "scores.safetensors")
    read = retrac.Scores.load(tmp_path / "scores.safetensors")
    assert_as_on_the_cpu(found.values, read.values)
    assert read.proponents(3).indices.equal(top.indices.cpu())


def test_a_gradient_that_is_not_finite_is_named():
    case = small_case()
    case.train[5] = torch.full((1, 4, 4), torch.inf, dtype=torch.float64)
    with pytest.raises(GradientError, match="loss of train sample 5 is not finite"):
        on(DEVICE, retrac.DiffusionTracIn, case).attribute(case.train, case.queries)
