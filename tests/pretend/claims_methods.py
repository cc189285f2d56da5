"""Every registered attributor computes where it is told, and finds the CPU's scores."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.extras import missing
from retrac_plugin.store.attributing import attribute_from, fill
from retrac_plugin.store.store import Store
from tests.frameworks.method_table import FRAMEWORK_OF, quick_settings
from tests.pretend.device import install
from tests.small import small_case

DEVICE = install()
OWN_RANDOM_NUMBERS = {"captum-arnoldi-if"}
"""It draws on the device, so its scores are others there."""
PROJECTED = {
    *("dattri-tracin", "dattri-grad-dot", "dattri-grad-cos", "dattri-trak", "dattri-dtrak"),
    *("dattri-logra", "dattri-factgrass"),
}
"""dattri projects on the CPU or CUDA alone, and with generators, which the device has none of."""


def made(name, case, device):
    if name in PROJECTED:
        pytest.skip(f"{name} goes through dattri's projectors, which want the CPU or CUDA")
    entry = plugins.attributors()[name][0]
    if missing(entry.needs):
        pytest.skip(f"{name} needs {', '.join(missing(entry.needs))}")
    attributor = entry.load()
    if hasattr(attributor, "refusal"):
        pytest.skip(f"{name} says why it cannot: {attributor.refusal}")
    settings = quick_settings(name) if name in FRAMEWORK_OF else {}
    draws = {
        "train_draws": retrac.Uniform(1, seed=1),
        "query_draws": retrac.Strided(2, noise_draws=2, seed=2),
    }
    options = {"batch_size": 4, "device": device, "progress": False, **draws, **settings}
    return attributor(case.model, case.checkpoints, **options)


@pytest.mark.parametrize("name", plugins.attributors())
def test_scores_are_those_of_the_cpu(name):
    expected, found = (
        made(name, case := small_case(), device).attribute(case.train, case.queries).values
        for device in ("cpu", DEVICE)
    )
    assert found.device.type == "pretend"
    if name in OWN_RANDOM_NUMBERS:
        assert found.isfinite().all()
    elif expected.dtype == torch.float32:
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["diffusion-retrac", "trak", "retrac-ridge", "retrac-kernel"])
def test_a_store_that_is_filled_and_asked_there_has_the_cpus_scores(name, tmp_path):
    found = {}
    for device in ("cpu", DEVICE):
        case = small_case(dtype=torch.float32)
        attributor = made(name, case, device)
        store = Store.create(tmp_path / str(device), "float32", 4)
        fill(store, {name: attributor}, case.train)
        ((_, scores),) = attribute_from(store, {name: attributor}, case.train, case.queries)
        assert scores.values.device.type == torch.device(device).type
        found[str(device)] = scores.values.cpu()
    expected, there = found.values()
    torch.testing.assert_close(there, expected, rtol=1e-4, atol=1e-5 * expected.abs().max())
