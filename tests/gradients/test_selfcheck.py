"""What is wrong is found before it is used, and what has no rule is told."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients import selfcheck
from retrac_plugin.gradients.contributions import Dense
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.rules.linear import LinearCall
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients import by_the_book
from tests.gradients.cases import Calling, Case, Layers, build


def engine_of(case):
    return StreamedEngine(case.losses, case.parameters)


def rows_by_name(engine, case, batch=None):
    rows = engine.gradients(case.batch if batch is None else batch, 1).gradients
    return Layout(case.parameters).unflatten(rows)


def assert_rows(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_a_fallback_says_which_function_has_no_rule():
    engine = engine_of(case := build("without_rules"))
    engine.gradients(case.batch, 1)
    assert engine.fallbacks() == {
        "form": "no rule for this use in torch.functional.einsum",
        "masked": "no rule for this use in torch.Tensor.mul",
    }


def test_a_wrong_rule_is_found_even_in_a_small_layer(monkeypatch):
    """One bias of three numbers, in a gradient a million times larger."""
    right = LinearCall.contributions

    def wrong(self, inputs, kept, grad, rows):
        for parameter, contribution in right(self, inputs, kept, grad, rows):
            small = isinstance(contribution, Dense) and contribution.gradient.shape[1] == 3
            yield parameter, Dense(1.01 * contribution.gradient) if small else contribution

    monkeypatch.setattr(LinearCall, "contributions", wrong)
    case = build("linear_on_sequences")
    case.batch["x"] *= 1e6
    engine = engine_of(case)
    assert_rows(rows_by_name(engine, case), by_the_book.row_gradients(case))
    assert list(engine.fallbacks()) == ["layers.2.bias"]
    assert "its rule is off by 1.0e-02" in engine.fallbacks()["layers.2.bias"]


def test_samples_that_see_each_other_are_refused():
    network = Layers(nn.Linear(5, 6), nn.BatchNorm1d(6)).double().train()
    case = Case(network, {"x": torch.randn(4, 5, dtype=torch.float64)})

    def losses(parameters, batch):
        values = functional.linear(
            batch["x"], parameters["layers.0.weight"], parameters["layers.0.bias"]
        )
        return (values - values.mean(0)).square().sum(1)

    with pytest.raises(GradientError, match=r"depends on its own sample .*evaluation mode"):
        StreamedEngine(losses, case.parameters).gradients(case.batch, 1)


def test_gradients_that_see_each_other_are_refused():
    """The losses are those of each sample alone; only the backward pass mixes the samples."""

    class Mixing(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, grad):
            return grad + grad.roll(1, 0)

    network = Calling(lambda self, x: Mixing.apply(self.layer(x)), layer=nn.Linear(5, 2)).double()
    case = Case(network, {"x": torch.randn(4, 5, dtype=torch.float64)})
    engine = engine_of(case)
    found = rows_by_name(engine, case)
    # Sample by sample, as vmap runs it, nothing mixes.
    assert_rows(found, by_the_book.row_gradients(case))
    assert set(engine.fallbacks()) == {"layer.weight", "layer.bias"}


def test_losses_must_be_one_for_each_sample():
    case = build("linear")
    engine = StreamedEngine(lambda p, batch: case.losses(p, batch).mean(), case.parameters)
    with pytest.raises(GradientError, match=r"shape \(\), expected one for each of the 2 samples"):
        engine.gradients(case.batch, 1)


def counting(monkeypatch):
    """Count the samples of every comparison with autograd."""
    counts = []
    original = selfcheck._one_by_one

    def counted(streamer, batch):
        counts.append(len(batch["x"]))
        return original(streamer, batch)

    monkeypatch.setattr(selfcheck, "_one_by_one", counted)
    return counts


def test_an_engine_is_checked_once(monkeypatch):
    counts = counting(monkeypatch)
    engine = engine_of(case := build("linear"))
    for _ in range(3):
        engine.gradients(case.batch, 1)
    assert counts == [2]


def test_a_first_batch_of_one_is_checked_again_with_two(monkeypatch):
    counts = counting(monkeypatch)
    engine = engine_of(case := build("linear"))
    for stop in (1, 1, 4, 4):
        engine.gradients({"x": case.batch["x"][:stop]}, 1)
    assert counts == [1, 2]


def test_what_is_not_finite_is_checked_later(monkeypatch):
    counts = counting(monkeypatch)
    engine = engine_of(case := build("linear"))
    rows = engine.gradients({"x": case.batch["x"] * torch.nan}, 1)
    assert rows.gradients.isnan().any()
    assert_rows(rows_by_name(engine, case), by_the_book.rows_of("linear"))
    engine.gradients(case.batch, 1)
    assert counts == [2]


def test_a_changed_use_falls_back():
    """The first batches are shorter sequences than a layer is willing to run at once."""

    def call(self, x):
        halves = x.split(3, dim=1)
        return sum(self.layer(half).square().mean(1) for half in halves)

    network = Calling(call, layer=nn.Linear(5, 5)).double()
    short, long = (torch.randn(4, size, 5, dtype=torch.float64) for size in (3, 6))
    case = Case(network, {"x": short})
    engine = engine_of(case)
    assert_rows(rows_by_name(engine, case), by_the_book.row_gradients(case))
    assert engine.fallbacks() == {}
    longer = Case(network, {"x": long})
    assert_rows(rows_by_name(engine, longer), by_the_book.row_gradients(longer))
    assert engine.fallbacks()["layer.weight"] == "its use differs from batch to batch"
