"""Streamed gradients against one backward pass per sample, layer by layer and model by model."""

import pytest
import torch

from retrac_plugin.gradients import layout
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.vmapped import VmapEngine
from tests.gradients import by_the_book
from tests.gradients.cases import CASES, build

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
every_case = pytest.mark.parametrize("name", CASES)


def assert_equal(found, expected, tolerance):
    """Every parameter by itself: a small wrong layer must not hide behind a large one."""
    assert found.keys() == expected.keys()
    largest = max(value.abs().max() for value in expected.values())
    for name, value in expected.items():
        assert found[name].shape == value.shape
        # Gradients that vanish up to rounding, as of keys' biases, are held against the largest.
        scale = max(value.abs().max(), 1e-3 * largest)
        error = (found[name] - value).abs().max() / scale
        assert error < tolerance, f"{name}: relative error {error:.1e}"


@every_case
def test_rows_in_float64(name):
    case = build(name)
    engine = StreamedEngine(case.losses, case.parameters)
    for draws in (1, 2):
        rows = engine.gradients(case.batch, draws).gradients
        found = layout.Layout(case.parameters).unflatten(rows)
        assert_equal(found, by_the_book.rows_of(name, draws), 1e-9)
    reasons = engine.fallbacks()
    assert sorted(reasons) == sorted(case.fallbacks), f"these took the fallback: {reasons}"


@every_case
def test_rows_in_float32(name):
    case = build(name, torch.float32)
    engine = StreamedEngine(case.losses, case.parameters)
    rows = engine.gradients(case.batch, 1).gradients
    assert rows.dtype == torch.float32
    found = layout.Layout(case.parameters).unflatten(rows)
    assert_equal(found, by_the_book.rows_of(name, dtype=torch.float32), 1e-4)


@every_case
def test_products_and_norms_of_large_layers(name, everything_is_large):
    case = build(name)
    engine = StreamedEngine(case.losses, case.parameters)
    vectors = torch.randn(3, engine.width, dtype=torch.float64)
    for draws in (1, 2):
        (products,) = engine.products([case.batch], draws, vectors)
        rows = layout.Layout(case.parameters).flatten(by_the_book.rows_of(name, draws))
        dots = rows @ vectors.T
        torch.testing.assert_close(products.dots, dots, rtol=0, atol=1e-9 * dots.abs().max())
        torch.testing.assert_close(products.norms, rows.norm(dim=1), rtol=1e-9, atol=0)


@every_case
def test_norms_alone(name, everything_is_large):
    case = build(name)
    engine = StreamedEngine(case.losses, case.parameters)
    nothing = torch.zeros(0, engine.width, dtype=torch.float64)
    (products,) = engine.products([case.batch], 1, nothing)
    expected = by_the_book.flat(by_the_book.rows_of(name)).norm(dim=1)
    torch.testing.assert_close(products.norms, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["convolution_strided", "unet", "lora", "bare_parameters"])
def test_the_reference_engine_agrees(name):
    case = build(name)
    found = VmapEngine(case.losses, case.parameters).gradients(case.batch, 1).gradients
    expected = by_the_book.flat(by_the_book.rows_of(name))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * expected.abs().max())
