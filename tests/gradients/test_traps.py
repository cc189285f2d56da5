"""What has gone wrong elsewhere, or easily could."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients import by_the_book
from tests.gradients.cases import Calling, Case, Layers, build, images


def rows_by_name(case, batch=None):
    engine = StreamedEngine(case.losses, case.parameters)
    rows = engine.gradients(case.batch if batch is None else batch, 1).gradients
    return Layout(case.parameters).unflatten(rows)


def assert_exact(case):
    found, expected = rows_by_name(case), by_the_book.row_gradients(case)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def normed(layout):
    """A norm on images of some memory layout that need no gradient, then a convolution."""
    torch.manual_seed(0)
    network = Layers(nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 3, padding=1)).double()
    return Case(network, {"x": layout(torch.randn(4, 4, 10, 9, dtype=torch.float64))})


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "cut_out": lambda x: torch.cat([x, x], 3)[..., :9],
    "reversed_batch": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "expanded": lambda x: x[:, :1].expand(-1, 4, -1, -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts_of_frozen_inputs(layout):
    """torch 2.13 crashes in the norm's own backward pass on channels-last images on a CPU."""
    assert_exact(normed(LAYOUTS[layout]))


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts_inside_the_network(layout, samples):
    """As after attention, whose output is transposed."""
    torch.manual_seed(0)

    def call(self, x):
        x = LAYOUTS[layout](torch.tanh(self.enter(x)))
        return self.leave(LAYOUTS[layout](self.norm(x)))

    network = Calling(
        call,
        enter=nn.Conv2d(2, 4, 3),
        norm=nn.GroupNorm(2, 4),
        leave=nn.Conv2d(4, 2, 3, padding=1),
    )
    case = Case(network.double(), {"x": torch.randn(samples, 2, 12, 11, dtype=torch.float64)})
    assert_exact(case)


@pytest.mark.parametrize("name", ["unet", "diffusion_transformer", "embedding", "pixart"])
def test_a_batch_of_one(name):
    case = build(name)
    alone = {key: value[2:3] for key, value in case.batch.items()}
    found = rows_by_name(case, alone)
    for name_, value in by_the_book.rows_of(name).items():
        scale = value.abs().max()
        torch.testing.assert_close(found[name_], value[2:3], rtol=1e-9, atol=1e-9 * scale + 1e-15)


def test_batches_of_any_size_after_each_other():
    case = build("unet")
    engine = StreamedEngine(case.losses, case.parameters)
    vectors = torch.randn(2, engine.width, dtype=torch.float64)
    whole = next(engine.products([case.batch], 1, vectors))
    cuts = ((0, 1), (1, 3), (3, 4))
    parts = list(
        StreamedEngine(case.losses, case.parameters).products(
            ({k: v[a:b] for k, v in case.batch.items()} for a, b in cuts), 1, vectors
        )
    )
    assert [len(part.norms) for part in parts] == [1, 2, 1]
    torch.testing.assert_close(torch.cat([p.dots for p in parts]), whole.dots)
    torch.testing.assert_close(torch.cat([p.norms for p in parts]), whole.norms)


def test_a_sample_whose_gradient_is_zero():
    case = build("linear")
    case.batch["weight"] = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)

    def losses(parameters, batch):
        plain = {"x": batch["x"]}
        return case.losses(parameters, plain) * batch["weight"]

    engine = StreamedEngine(losses, case.parameters)
    vectors = torch.ones(1, engine.width, dtype=torch.float64)
    (products,) = engine.products([case.batch], 1, vectors)
    assert products.norms[1] == 0
    assert products.dots[1] == 0
    assert (products.norms[[0, 2, 3]] > 0).all()


def test_half_precision_is_close():
    case = build("unet", torch.bfloat16)
    engine = StreamedEngine(case.losses, case.parameters)
    expected = by_the_book.flat(by_the_book.rows_of("unet"))
    vectors = torch.randn(3, engine.width).bfloat16()
    (products,) = engine.products([case.batch], 1, vectors)
    assert products.norms.dtype == torch.float32
    torch.testing.assert_close(products.norms.double(), expected.norm(dim=1), rtol=0.1, atol=0)
    assert engine.gradients(case.batch, 1).gradients.dtype == torch.bfloat16


def test_layers_of_different_precision():
    """Adapters in float32 on a network in half precision: rows take the wider type."""
    torch.manual_seed(0)

    def call(self, x):
        return self.wide(torch.tanh(self.narrow(x)).float())

    network = Calling(call, narrow=nn.Linear(6, 80), wide=nn.Linear(80, 60))
    network.narrow.bfloat16()
    case = Case(network, {"x": torch.randn(4, 6).bfloat16()})
    engine = StreamedEngine(case.losses, case.parameters)
    rows = engine.gradients(case.batch, 1).gradients
    assert rows.dtype == torch.float32
    found = Layout(case.parameters).unflatten(rows)
    for name, value in by_the_book.row_gradients(case).items():
        scale = float(value.abs().max())
        torch.testing.assert_close(found[name], value.float(), rtol=0, atol=0.02 * scale)


def test_a_loss_that_depends_on_no_parameter_is_refused():
    case = build("linear")
    engine = StreamedEngine(lambda parameters, batch: batch["x"].sum(1), case.parameters)
    with pytest.raises(GradientError, match=r"exactly 0 for every sample .* adapter that is fused"):
        engine.gradients(case.batch, 1)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.enter, self.inner = nn.Linear(5, 5), nn.Linear(5, 5)
        self.reentrant = reentrant

    def forward(self, x):
        def inner(value):
            return torch.tanh(self.inner(value))

        return torch.utils.checkpoint.checkpoint(
            inner, torch.tanh(self.enter(x)), use_reentrant=self.reentrant
        )


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_is_refused(reentrant):
    case = Case(Checkpointed(reentrant).double(), {"x": torch.randn(4, 5, dtype=torch.float64)})
    engine = StreamedEngine(case.losses, case.parameters)
    with pytest.raises(GradientError, match=r"gradient checkpointing.* switch it off"):
        engine.gradients(case.batch, 1)


def test_gradient_checkpointing_of_diffusers_is_refused():
    case = build("unet")
    case.network.train().enable_gradient_checkpointing()
    engine = StreamedEngine(case.losses, case.parameters)
    with pytest.raises(GradientError, match=r"disable_gradient_checkpointing\(\)"):
        engine.gradients(case.batch, 1)


def state_of(network):
    return {
        "values": copy.deepcopy(network.state_dict()),
        "modes": [module.training for module in network.modules()],
        "trained": [p.requires_grad for p in network.parameters()],
        "objects": [id(p) for p in network.parameters()],
        "grads": [p.grad for p in network.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in network.modules()
        ],
    }


def assert_untouched(before, network):
    after = state_of(network)
    values = before.pop("values"), after.pop("values")
    assert before == after
    assert all(torch.equal(value, values[1][name]) for name, value in values[0].items())


def test_the_network_is_left_as_it_was_found():
    case = build("lora")
    case.network.train()
    before = state_of(case.network)
    rows_by_name(case)
    assert_untouched(before, case.network)
    assert torch.tensor(1.0).requires_grad is False


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_the_network_is_left_as_it_was_found_by_an_exception(where):
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            if where == "forward":
                raise RuntimeError("on purpose")
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError("on purpose")

    network = Calling(
        lambda self, x: self.last(Failing.apply(self.first(x))),
        first=nn.Linear(5, 5),
        last=nn.Linear(5, 5),
    ).double()
    case = Case(network, {"x": torch.randn(4, 5, dtype=torch.float64)})
    before = state_of(network)
    with pytest.raises(RuntimeError, match="on purpose"):
        rows_by_name(case)
    assert_untouched(before, network)
    # No mode is left on either: a plain pass is a plain pass again.
    assert network.last(torch.zeros(1, 5, dtype=torch.float64)).grad_fn.name() == "AddmmBackward0"


def test_it_works_where_gradients_are_switched_off():
    with torch.no_grad():
        found = rows_by_name(build("linear"))
    for name, value in by_the_book.rows_of("linear").items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_convolutions_on_images_of_one_line():
    torch.manual_seed(0)
    network = Layers(nn.Conv2d(2, 3, (1, 3)), nn.GroupNorm(3, 3)).double()
    assert_exact(Case(network, {k: v.double() for k, v in images(2, 1, 8).items()}))


def test_a_parameter_that_a_reader_pads_or_joins_is_no_input():
    """It goes into the inputs of a frozen layer, where no contribution could name it."""
    torch.manual_seed(0)
    kernel = torch.randn(2, 2, 3, 3, dtype=torch.float64)

    def call(self, x):
        return x * functional.conv2d(self.grid, kernel, padding="same")

    network = Calling(call, grid=torch.randn(1, 2, 5, 4)).double()
    case = Case(network, {"x": torch.randn(1, 2, 5, 4, dtype=torch.float64)})
    engine = StreamedEngine(case.losses, case.parameters)
    rows = Layout(case.parameters).unflatten(engine.gradients(case.batch, 1).gradients)
    expected = by_the_book.row_gradients(case)
    torch.testing.assert_close(rows["grid"], expected["grid"], rtol=1e-9, atol=1e-12)
    assert engine.fallbacks() == {"grid": "no rule for this use in torch.nn.functional.conv2d"}
