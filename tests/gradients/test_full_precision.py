"""Gradients are compared with every digit that float32 has, whatever torch's switches allow."""

import threading

import pytest
import torch

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.full_precision import full_precision
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients.well_trained import losses, well_trained
from tests.tensor_cores import TensorCores


def test_tf32_is_no_fault_of_a_rule():
    parameters, batch = well_trained()
    engine = StreamedEngine(losses, parameters)
    with TensorCores():
        found = engine.gradients(batch, 1).gradients
    assert engine.fallbacks() == {}
    leaf = parameters["weight"].double().requires_grad_()
    double = {name: value.double() for name, value in batch.items()}
    for row, loss in zip(found, losses({"weight": leaf}, double), strict=True):
        (expected,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        torch.testing.assert_close(row.double(), expected.flatten(), rtol=1e-4, atol=1e-7)


def test_the_emulated_rounding_is_more_than_the_check_lets_pass():
    parameters, batch = well_trained()
    leaf = parameters["weight"].requires_grad_()
    both = (losses({"weight": leaf}, batch) * torch.tensor([1.0, 0.5])).sum()
    (exact,) = torch.autograd.grad(both, leaf, retain_graph=True)
    with TensorCores():
        (rounded,) = torch.autograd.grad(both, leaf)
    assert (rounded - exact).norm() > 3e-3 * exact.norm()


def switches():
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture(params=["highest", "high", "medium"])
def precision(request):
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision("highest")


def test_the_switches_stand_afterwards_as_before(precision):
    seen = []

    def watching(parameters, batch):
        seen.append(switches())
        return losses(parameters, batch)

    parameters, batch = well_trained()
    engine = StreamedEngine(watching, parameters)
    engine.gradients(batch, 1)
    assert set(seen) == {(False, "highest")}
    seen.clear()
    engine.gradients(batch, 1)  # which needs no check
    assert seen == [(True, precision)]
    assert switches() == (True, precision)


def test_so_they_do_where_the_check_refuses(precision):
    parameters, batch = well_trained()

    def entangled(parameters, batch):
        found = losses(parameters, batch)
        return found + found.sum()

    with pytest.raises(GradientError):
        StreamedEngine(entangled, parameters).gradients(batch, 1)
    assert switches() == (True, precision)


NEWER = hasattr(torch.backends, "fp32_precision")


@pytest.mark.skipif(not NEWER, reason="torch has one switch for all products since 2.9")
def test_newer_switches_are_known_too():
    torch.backends.fp32_precision = "tf32"
    try:
        before = torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.conv.fp32_precision
        with full_precision():
            assert torch.backends.cudnn.conv.fp32_precision in ("ieee", "none")
            assert torch.backends.mkldnn.conv.fp32_precision == "ieee"
        after = torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.conv.fp32_precision
        assert after == before == ("tf32", "tf32")
    finally:
        torch.backends.fp32_precision = "none"
        torch.backends.mkldnn.conv.fp32_precision = "none"


def test_the_last_of_several_threads_switches_on_again():
    inside, left = threading.Event(), threading.Event()

    def other():
        with full_precision():
            inside.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with full_precision():
        thread.start()
        assert inside.wait(10)
    assert switches() == (False, "highest")  # the other is still within
    left.set()
    thread.join()
    assert switches() == (True, "highest")
