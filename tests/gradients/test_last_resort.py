"""What neither a layer rule nor vmap can take is right all the same, and told."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.losses import as_losses
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.vmapped import VmapEngine
from tests.gradients import by_the_book
from tests.gradients.cases import Calling, Case


def sequences(network):
    torch.manual_seed(0)
    return Case(network.double(), {"x": torch.randn(4, 6, 5, dtype=torch.float64)})


def gru():
    return Calling(lambda self, x: self.out(self.gru(x)[0]), gru=_GRU(5, 5), out=nn.Linear(5, 3))


class _GRU(nn.GRU):
    def __init__(self, size, hidden):
        super().__init__(size, hidden, batch_first=True)


def experts():
    """One branch for some samples, another one for others."""

    def call(self, x):
        out, first = torch.zeros_like(x), x[:, 0, 0] > 0
        if first.any():
            out[first] = self.one(x[first])
        if (~first).any():
            out[~first] = self.two(x[~first])
        return torch.tanh(self.head(out))

    return Calling(call, one=nn.Linear(5, 5), two=nn.Linear(5, 5), head=nn.Linear(5, 5))


def energy():
    """The output is a gradient itself."""

    def call(self, x):
        with torch.enable_grad():
            x = x + torch.zeros_like(x).requires_grad_()
            energies = functional.silu(self.layer(x)).sum()
            return torch.autograd.grad(energies, x, create_graph=True)[0]

    return Calling(call, layer=nn.Linear(5, 5))


class Doubling(torch.autograd.Function):
    """An autograd function in the old style, which torch.func does not take."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return 2 * x @ weight

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return 2 * grad @ weight.T, 2 * x.flatten(0, -2).T @ grad.flatten(0, -2)


def own_function():
    return Calling(
        lambda self, x: torch.tanh(self.out(Doubling.apply(x, self.weight))),
        weight=torch.randn(5, 5),
        out=nn.Linear(5, 2),
    )


def writes_into_a_buffer():
    """As running statistics that are kept and not used."""

    def call(self, x):
        self.seen.copy_(torch.einsum("bsi,i->b", x, self.scale).mean())
        return torch.tanh(torch.einsum("bsi,i->bs", x, self.scale))

    network = Calling(call, scale=torch.randn(5))
    network.register_buffer("seen", torch.zeros(()))
    return network


def self_conditioning():
    def call(self, x):
        with torch.no_grad():
            first = torch.tanh(self.layer(x))
        return torch.tanh(self.layer(x + first))

    return Calling(call, layer=nn.Linear(5, 5))


def branches_by_value():
    def call(self, x):
        return torch.einsum("bsi,ij->bsj", x, self.weight) * (1 + float(x.abs().max() > 100))

    return Calling(call, weight=torch.randn(5, 5))


def dense_by_nonzero():
    """Values pick entries of a table of parameters."""

    def call(self, x):
        rows = [self.table[(each[0] > 0).nonzero()[:, 0]].sum() for each in x]
        return torch.tanh(self.layer(x)) * torch.stack(rows)[:, None, None]

    return Calling(call, table=torch.randn(5), layer=nn.Linear(5, 3))


NETWORKS = [
    gru,
    experts,
    energy,
    own_function,
    writes_into_a_buffer,
    self_conditioning,
    branches_by_value,
    dense_by_nonzero,
]


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("make", NETWORKS)
def test_gradients_are_those_of_autograd(make, draws):
    torch.manual_seed(1)
    case = sequences(make())
    expected = by_the_book.row_gradients(case, draws)
    engine = StreamedEngine(case.losses, case.parameters)
    rows = engine.gradients(case.batch, draws).gradients
    for name, value in Layout(case.parameters).unflatten(rows).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [gru, experts, energy, dense_by_nonzero])
def test_what_goes_sample_by_sample_is_told(make):
    case = sequences(make())
    engine = StreamedEngine(case.losses, case.parameters)
    engine.gradients(case.batch, 1)
    told = engine.fallbacks()
    assert told
    assert all("one sample after the other" in reason for reason in told.values())


def test_self_conditioning_needs_no_fallback():
    case = sequences(self_conditioning())
    engine = StreamedEngine(case.losses, case.parameters)
    engine.gradients(case.batch, 1)
    assert engine.fallbacks() == {}


def filtered(weight):
    """A filter over frequencies, as in FNO, AFNO and GFNet."""

    def call(self, x):
        values = self.filter if self.filter.is_complex() else torch.view_as_complex(self.filter)
        return torch.fft.irfft(torch.fft.rfft(torch.tanh(self.layer(x)), dim=1) * values, dim=1)

    network = Calling(call, layer=nn.Linear(5, 5).double(), filter=weight)
    return Case(network, {"x": torch.randn(4, 6, 5, dtype=torch.float64)})


@pytest.mark.parametrize("engine", [StreamedEngine, VmapEngine])
@pytest.mark.parametrize("kind", ["view", "complex parameter"])
def test_complex_weights(kind, engine):
    torch.manual_seed(0)
    weight = torch.randn(4, 5, dtype=torch.complex128)
    case = filtered(torch.view_as_real(weight) if kind == "view" else weight)
    rows = engine(case.losses, case.parameters).gradients(case.batch, 1).gradients
    assert rows.dtype == torch.float64
    expected = {
        name: torch.view_as_real(value) if value.is_complex() else value
        for name, value in by_the_book.row_gradients(case).items()
    }
    norms = by_the_book.flat(expected).norm(dim=1)
    torch.testing.assert_close(rows.norm(dim=1), norms, rtol=1e-9, atol=0)
    if engine is StreamedEngine:
        found = Layout(as_losses(case.losses, case.parameters)[1]).unflatten(rows)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_memory_that_does_not_suffice_is_no_reason_to_try_another_way():
    case = sequences(self_conditioning())
    calls = []

    def losses(parameters, batch):
        calls.append(len(batch["x"]))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        StreamedEngine(losses, case.parameters).gradients(case.batch, 1)
    assert len(calls) == 1
