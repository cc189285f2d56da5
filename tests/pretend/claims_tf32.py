"""The device with tensor cores: checks are not misled, and the switches are read in its threads."""

import pytest
import torch

from retrac_plugin.gradients import streamed
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients.well_trained import losses, well_trained
from tests.pretend import kernels
from tests.pretend.device import install
from tests.tensor_cores import read_by_tensor_cores

DEVICE = install()


@pytest.fixture(autouse=True)
def tensor_cores(monkeypatch):
    monkeypatch.setattr(kernels, "reading", [read_by_tensor_cores])


def gradients():
    """Of two samples, in the first batch, which is checked, and in a second one."""
    parameters, batch = well_trained()
    there = {name: value.to(DEVICE) for name, value in batch.items()}
    engine = StreamedEngine(losses, {name: p.to(DEVICE) for name, p in parameters.items()})
    return engine, [engine.gradients(there, 1).gradients.cpu() for _ in range(2)]


def test_what_is_checked_is_computed_in_full_and_no_fault_is_found():
    engine, (first, second) = gradients()
    assert engine.fallbacks() == {}
    change = (first - second).norm(dim=1) / first.norm(dim=1)
    assert (change > 1e-4).all()  # as torch is set by default
    torch.backends.cudnn.allow_tf32 = False
    try:
        _, (_, exact) = gradients()
    finally:
        torch.backends.cudnn.allow_tf32 = True
    torch.testing.assert_close(first, exact, rtol=1e-5, atol=1e-7)


def test_without_the_switch_the_check_would_be_misled(monkeypatch):
    """Both products that it compares are rounded, each in its own way."""
    off = torch.inference_mode(False)
    monkeypatch.setattr(streamed, "full_precision", lambda: off)
    engine, _ = gradients()
    assert "weight" in engine.fallbacks()
