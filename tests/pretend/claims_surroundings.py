"""What a device lacks, what is on around it, how it is named: it runs, or is refused in a line."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri import DiffusionTracInAttributor
from retrac_plugin.methods.losses import mean_losses
from retrac_plugin.model.devices import usable_device, wait_for
from tests.frameworks.dattri_tools import task_of
from tests.pretend import kernels
from tests.pretend.device import install
from tests.pretend.watch import watching
from tests.small import small_case

DEVICE = install()


def test_a_device_without_a_number_is_the_current_one():
    assert usable_device("pretend") == usable_device("pretend:0") == DEVICE
    case = small_case()
    named = [
        retrac.DiffusionTracIn(case.model, case.checkpoints, device=name)
        for name in ("pretend", "pretend:0", DEVICE)
    ]
    assert len(retrac.attribute_together(named, case.train, case.queries)) == 3


def test_a_device_without_float64_says_so(monkeypatch):
    monkeypatch.setattr(kernels, "lacking", {torch.float64})
    case = small_case()  # in float64
    with pytest.raises(InputError, match=r"has no torch\.float64.*network\.float\(\)"):
        retrac.DiffusionTracIn(case.model, case.checkpoints, device=DEVICE)


def in_single_precision():
    case = small_case()
    case.network.float()
    case.train[:] = [image.float() for image in case.train]
    case.queries[:] = [image.float() for image in case.queries]
    return case


@pytest.mark.parametrize("name", ["diffusion-retrac", "pixel-similarity", "journey-trak"])
def test_without_float64_float32_is_enough(monkeypatch, name):
    expected, found = None, None
    for device in ("cpu", DEVICE):
        case = in_single_precision()
        if device == DEVICE:
            monkeypatch.setattr(kernels, "lacking", {torch.float64})
        made = plugins.get_attributor(name)(case.model, case.checkpoints, device=device)
        expected, found = found, made.attribute(case.train, case.queries).values
    assert found.device == DEVICE
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-5)


def test_a_default_device_is_refused():
    case = small_case()
    torch.set_default_device(DEVICE)
    try:
        with pytest.raises(InputError, match="set_default_device"):
            retrac.DiffusionTracIn(case.model, case.checkpoints)
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("name", ["pixel-similarity", "feature-similarity", "random"])
def test_what_needs_no_network_follows_the_device_too(name):
    case = small_case()
    expected, found = (
        plugins.get_attributor(name)(case.model, case.checkpoints, device=device)
        .attribute(case.train, case.queries)
        .values
        for device in ("cpu", DEVICE)
    )
    assert found.device == DEVICE
    torch.testing.assert_close(found.cpu(), expected)


def test_dattris_classes_compute_where_the_network_is():
    case = small_case()
    case.network.to(DEVICE)
    assert DiffusionTracInAttributor(task_of(case)).device == DEVICE


def test_losses_are_computed_where_the_network_is():
    case, draws = small_case(), retrac.Strided(2, noise_draws=2, seed=2)
    expected = mean_losses(case.model, case.checkpoints[0], case.train, draws)
    case.network.to(DEVICE)
    for device, where in ((None, DEVICE), ("pretend", DEVICE), ("cpu", torch.device("cpu"))):
        found = mean_losses(case.model, case.checkpoints[0], case.train, draws, device=device)
        assert found.device == where
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=0)


def test_a_recorder_takes_half_precision():
    recorder = retrac.Recorder(num_samples=4)
    images = torch.rand(2, 1, 4, 4, device=DEVICE, dtype=torch.bfloat16)
    noise = recorder.draw([0, 3], torch.tensor([5, 9], device=DEVICE), images, step_size=0.1)
    assert noise.device == DEVICE
    assert noise.dtype == torch.bfloat16


def test_keys_of_a_batch_are_fetched_at_once():
    fetched = []
    for size in (2, 8):
        images = torch.rand(8, 1, 4, 4, device=DEVICE)
        with watching() as waits:
            list(ExampleSource(images, "train").blocks(size))
        fetched.append(sum(n for (kind, _), n in waits.items() if kind == "fetched"))
    assert fetched == [4, 1], waits


def test_memory_and_seconds_are_those_of_the_device():
    with PeakMemory(DEVICE) as peak:
        with watching() as waits:
            wait_for(DEVICE)
        large = torch.zeros(2**28, dtype=torch.uint8, device=DEVICE)
        del large
    assert [kind for kind, _ in waits] == ["synchronize"]
    assert (
        peak.bytes >= 2**28 + 2**28
    )  # resident on the CPU, which is its memory, and counted there
