"""Losses that are no functions of their own samples, and weights that no gradient reaches."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients import by_the_book
from tests.gradients.cases import Calling, Case, build


def rows_of_two_draws(call, samples=8, **parts):
    """Samples whose noise draws share timestep and condition, as a query's do."""
    torch.manual_seed(0)
    network = Calling(call, **parts).double()
    x = torch.randn(samples, 3, dtype=torch.float64)
    shared = torch.randn(samples // 2, 3, dtype=torch.float64).repeat_interleave(2, 0)
    return Case(network, {"x": x, "t": shared[:, 0], "c": shared})


def refused(case, match, draws=2):
    engine = StreamedEngine(case.losses, case.parameters)
    with pytest.raises(GradientError, match=match):
        engine.gradients(case.batch, draws)


def layer():
    return {"layer": nn.Linear(3, 3)}


def test_the_first_timestep_taken_for_all_is_refused():
    case = rows_of_two_draws(
        lambda self, x, t, c: torch.tanh(self.layer(x) + t[:1, None]), **layer()
    )
    refused(case, "expected a loss that depends on its own sample alone")


def test_the_condition_of_another_sample_is_refused():
    case = rows_of_two_draws(lambda self, x, t, c: self.layer(x) * c.roll(2, 0), **layer())
    refused(case, "expected a loss that depends on its own sample alone")


def test_conditions_averaged_over_the_batch_are_refused_in_bfloat16():
    case = rows_of_two_draws(lambda self, x, t, c: self.layer(x) + c.mean(0), **layer())
    refused(case.to(torch.bfloat16), "expected a loss that depends on its own sample alone")


def test_batch_statistics_are_refused():
    case = rows_of_two_draws(
        lambda self, x, t, c: self.norm(self.layer(x)), norm=nn.BatchNorm1d(3), **layer()
    )
    case.network.train()
    refused(case, "expected a loss that depends on its own sample alone")


def test_samples_that_see_each_other_in_large_batches_alone_are_refused():
    def call(self, x, t, c):
        return self.layer(x) + (x.mean(0) if len(x) > 20 else 0)

    refused(rows_of_two_draws(call, samples=40, **layer()), "in a batch of 40")


@pytest.mark.parametrize(
    ("draw", "generator"),
    [
        (lambda: float(torch.rand(())), "torch"),
        (random.random, "random"),
        (np.random.random, "numpy.random"),
    ],
)
def test_what_is_drawn_at_random_however_rarely_it_matters_is_refused(draw, generator):
    case = rows_of_two_draws(
        lambda self, x, t, c: self.layer(x) + (c if draw() > 0.999999 else 0), **layer()
    )
    refused(case, rf"draws at random in its forward pass \(by {generator}\)")


def test_a_generator_of_its_own_is_refused():
    generator = torch.Generator().manual_seed(0)

    def call(self, x, t, c):
        keep = torch.rand(len(x), 1, generator=generator, dtype=x.dtype) > 0.5
        return self.layer(x) + torch.where(keep, c, 0)

    refused(rows_of_two_draws(call, **layer()), "differ from run to run|differently each time")


def test_a_network_that_remembers_earlier_runs_is_refused():
    def call(self, x, t, c):
        self.runs += 1
        return self.layer(x) * self.runs

    case = rows_of_two_draws(call, **layer())
    case.network.register_buffer("runs", torch.zeros(()))
    refused(case, "differ from run to run")


def test_random_tables_made_on_first_use_are_no_chance():
    def call(self, x, t, c):
        if not hasattr(self, "table"):
            self.table = torch.randn(3, dtype=x.dtype)
        return torch.tanh(self.layer(x)) * self.table

    case = rows_of_two_draws(call, **layer())
    engine = StreamedEngine(case.losses, case.parameters)
    found = Layout(case.parameters).unflatten(engine.gradients(case.batch, 1).gradients)
    for name, value in by_the_book.row_gradients(case).items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_both_sides_are_checked():
    """Nothing is wrong with the training set; the queries have a condition that is averaged."""

    def call(self, x, t, c):
        return self.layer(x) + (c.mean(0) if (c != 0).all() else 0)

    case = rows_of_two_draws(call, **layer())
    engine = StreamedEngine(case.losses, case.parameters)
    nothing = torch.zeros(0, engine.width, dtype=torch.float64)
    list(engine.products([{**case.batch, "c": case.batch["c"] * 0}], 1, nothing))
    with pytest.raises(GradientError, match="depends on its own sample alone"):
        engine.gradients(case.batch, 2)


def windows_first(self, x):
    """Windows before samples, ``[window * sample, 9, C]``: the first dimension misleads."""
    samples = len(x)
    windows = self.enter(x).view(samples, 4, 2, 3, 2, 3).permute(2, 4, 0, 3, 5, 1)
    mixed = self.mix(windows.reshape(-1, 9, 4)).view(2, 2, samples, 3, 3, 4)
    return self.leave(mixed.permute(2, 5, 0, 3, 1, 4).reshape(x.shape))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_hides_no_wrong_rule(dtype):
    for seed in range(3):
        torch.manual_seed(seed)
        network = Calling(
            windows_first, enter=nn.Conv2d(4, 4, 1), mix=nn.Linear(4, 4), leave=nn.Conv2d(4, 4, 1)
        )
        half = Case(network, {"x": torch.randn(4, 4, 6, 6)}).to(dtype)
        engine = StreamedEngine(half.losses, half.parameters)
        rows = engine.gradients(half.batch, 1).gradients
        assert engine.fallbacks().keys() >= {"mix.weight", "mix.bias"}
        found = Layout(half.parameters).unflatten(rows.double())
        for name, value in by_the_book.row_gradients(half.to(torch.float64)).items():
            error = torch.linalg.vector_norm(found[name] - value)
            assert error < 0.05 * torch.linalg.vector_norm(value), name


def test_half_precision_keeps_its_rules():
    case = build("unet", torch.bfloat16)
    engine = StreamedEngine(case.losses, case.parameters)
    engine.gradients(case.batch, 1)
    assert engine.fallbacks() == {}


def test_a_network_for_one_type_alone_is_taken_sample_by_sample():
    """It cannot run in float32, so its rules cannot be compared."""

    def call(self, x):
        return torch.tanh(self.layer(x.bfloat16()) @ torch.ones(5, 2, dtype=torch.bfloat16))

    torch.manual_seed(0)
    case = Case(Calling(call, layer=nn.Linear(5, 5)), {"x": torch.randn(4, 5)}).to(torch.bfloat16)
    engine = StreamedEngine(case.losses, case.parameters)
    rows = engine.gradients(case.batch, 1).gradients
    found = Layout(case.parameters).unflatten(rows)
    for name, value in by_the_book.row_gradients(case).items():
        torch.testing.assert_close(found[name], value)
    assert all("cannot be checked in float32" in why for why in engine.fallbacks().values())


def packed(lengths):
    """Captions without their padding, one token after the other."""
    torch.manual_seed(0)

    def call(self, x, text, mask):
        of = torch.repeat_interleave(torch.arange(len(x)), mask.sum(1))
        tokens = torch.tanh(self.text(text[mask]))
        return self.head(x + x.new_zeros(len(x), 3).index_add(0, of, tokens))

    network = Calling(call, text=nn.Linear(4, 3), head=nn.Linear(3, 3)).double()
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    batch = {
        "x": torch.randn(len(lengths), 3, dtype=torch.float64),
        "text": torch.randn(len(lengths), 8, 4, dtype=torch.float64),
        "mask": mask,
    }
    return Case(network, batch)


@pytest.mark.parametrize("first", [(4, 4, 4, 4), (2, 6, 6, 2), (1, 7, 5, 3)])
def test_packed_tokens_are_right_also_where_the_first_batch_is_even(first):
    case, later = packed(first), packed((3, 5, 2, 6))
    engine = StreamedEngine(case.losses, case.parameters)
    for each in (case, later):
        found = Layout(case.parameters).unflatten(engine.gradients(each.batch, 1).gradients)
        expected = by_the_book.row_gradients(Case(case.network, each.batch))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)
    assert engine.fallbacks().keys() == {"text.weight", "text.bias"}


def test_a_merged_adapter_is_refused():
    case = build("lora")
    case.network.merge_adapter()
    with pytest.raises(GradientError, match=r"exactly 0 .* An adapter that is fused"):
        StreamedEngine(case.losses, case.parameters).gradients(case.batch, 1)


def test_samples_that_weigh_nothing_are_not_taken_for_a_merged_adapter():
    case = build("linear")
    plain = case.losses
    weights = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)

    def losses(parameters, batch):
        return plain(parameters, {"x": batch["x"]}) * batch["weight"]

    batch = {**case.batch, "weight": weights}
    rows = StreamedEngine(losses, case.parameters).gradients(batch, 1).gradients
    found = Layout(case.parameters).unflatten(rows)
    for name, value in by_the_book.rows_of("linear").items():
        own = value * weights.view(-1, *[1] * (value.dim() - 1))
        torch.testing.assert_close(found[name], own, rtol=1e-9, atol=1e-12)


def test_gradients_taken_out_of_sight_are_refused():
    """A block of its own kind that runs again, and backward, in its backward pass."""
    inner = nn.Linear(3, 3).double()

    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return network.layer(x)

        @staticmethod
        def backward(ctx, grad):
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                network.layer(x).backward(grad)
            return x.grad

    network = Calling(
        lambda self, x: Again.apply(self.enter(x)), layer=inner, enter=nn.Linear(3, 3)
    )
    case = Case(network.double(), {"x": torch.randn(4, 3, dtype=torch.float64)})

    class Held:
        """As a model's own losses, which hold the parameters through the backward pass."""

        narrow = False

        def __call__(self, parameters, batch):
            return case.losses(parameters, batch)

        def widened(self):
            return self

        def holding(self, parameters, body):
            class Holder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.network = network

                def forward(self):
                    return body()

            named = {f"network.{name}": value for name, value in parameters.items()}
            return torch.func.functional_call(Holder(), named, ())

    with pytest.raises(GradientError, match=r"'layer.weight'.* where it cannot be seen"):
        StreamedEngine(Held(), case.parameters).gradients(case.batch, 1)
