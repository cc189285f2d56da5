"""What the pretend device refuses, as a GPU does: else its claims would prove nothing."""

import numpy as np
import pytest
import torch

from tests.pretend.device import install
from tests.pretend.watch import Memory, watching

DEVICE = install()


def test_its_tensors_compute():
    made = torch.arange(6.0, device=DEVICE).view(2, 3)
    assert made.device == DEVICE
    assert made.T.matmul(made).sum().item() == (torch.arange(6.0).view(2, 3).sum(1) ** 2).sum()


@pytest.mark.parametrize(
    "meet",
    [
        lambda there, here: there + here,
        lambda there, here: there @ here,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: there.index_select(0, torch.tensor([0])),
        lambda there, here: torch.nn.functional.linear(there, here),
        lambda there, here: there.add_(here),
        lambda there, here: torch.where(there > 0, there, here),
    ],
)
def test_two_devices_do_not_meet(meet):
    with pytest.raises(RuntimeError, match="same device"):
        meet(torch.ones(2, 2, device=DEVICE), torch.ones(2, 2))


def test_a_number_and_positions_of_the_cpu_may_take_part():
    there = torch.arange(4.0, device=DEVICE)
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert there[torch.tensor([3, 1])].tolist() == [3, 1]
    there[torch.tensor([0])] = 9.0
    assert there.tolist() == [9, 1, 2, 3]


def test_numpy_and_generators_of_the_cpu_are_refused():
    with pytest.raises(TypeError):
        np.asarray(torch.ones(2, device=DEVICE))
    with pytest.raises(RuntimeError):
        torch.randn(2, device=DEVICE, generator=torch.Generator())


def test_its_random_numbers_are_its_own():
    torch.manual_seed(0)
    there = torch.randn(3, device=DEVICE).cpu()
    torch.manual_seed(0)
    assert not torch.equal(there, torch.randn(3))


def test_gradients_and_vmap():
    layer = torch.nn.Conv2d(1, 2, 3).to(DEVICE)
    images = torch.ones(4, 1, 5, 5, device=DEVICE)
    layer(images).square().mean().backward()
    each = torch.vmap(torch.func.grad(lambda w, x: (w * x).square().sum()), (None, 0))
    found = each(torch.tensor(2.0, device=DEVICE), images)
    assert layer.weight.grad.device == found.device == DEVICE
    assert (found == 2 * 2.0 * 25).all()


def test_waits_and_bytes_are_counted():
    torch.ones(256, device=DEVICE)
    before = Memory.held
    with watching() as waits:
        there = torch.ones(1000).to(DEVICE)
        assert Memory.held - before == 4000
        there.sum().item()
        there.cpu()
        assert there.view(10, 100)[:, 3].sum() == 10
    kinds = {kind for kind, _ in waits}
    assert {"sent", "fetched", "_local_scalar_dense"} <= kinds
    del there
    assert Memory.held == before
