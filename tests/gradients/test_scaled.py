"""Gradients that are scaled by parameter, as Adam's preconditioner asks for."""

import pytest
import torch

from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.projections import CountSketch, Factored
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.vmapped import VmapEngine
from tests.gradients import by_the_book
from tests.gradients.cases import build

some_cases = pytest.mark.parametrize("name", ["unet", "lora", "shared_module", "without_rules"])


def scales_of(case):
    torch.manual_seed(3)
    return {name: torch.rand_like(value) + 0.5 for name, value in case.parameters.items()}


def by_hand(name, scales):
    return {n: rows * scales[n] for n, rows in by_the_book.rows_of(name, 1).items()}


@some_cases
def test_scaled_rows_products_and_norms(name, everything_is_large):
    case = build(name)
    scales = scales_of(case)
    engine = StreamedEngine(case.losses, case.parameters, scales)
    rows = Layout(case.parameters).flatten(by_hand(name, scales))
    torch.testing.assert_close(engine.gradients(case.batch, 1).gradients, rows)
    vectors = torch.randn(3, engine.width, dtype=torch.float64)
    (products,) = engine.products([case.batch], 1, vectors)
    torch.testing.assert_close(products.dots, rows @ vectors.T)
    torch.testing.assert_close(products.norms, rows.norm(dim=1))


@some_cases
def test_layers_keep_their_rules_under_scales(name):
    case = build(name)
    engine = StreamedEngine(case.losses, case.parameters, scales_of(case))
    engine.gradients(case.batch, 1)
    assert sorted(engine.fallbacks()) == sorted(case.fallbacks)


@pytest.mark.parametrize("projection", [CountSketch(64), Factored(4, small=16)])
def test_features_are_those_of_the_scaled_gradient(projection, everything_is_large):
    case = build("unet")
    scales = scales_of(case)
    engine = StreamedEngine(case.losses, case.parameters, scales)
    (found,) = engine.features([case.batch], 1, projection)
    layout = Layout(case.parameters)
    rows = layout.flatten(by_hand("unet", scales))
    consumer = projection.prepare(layout, rows.new_empty(0)).consumer(len(rows))
    for columns in layout.columns.values():
        consumer.block(slice(0, len(rows)), columns, rows[:, columns])
    torch.testing.assert_close(found.features, consumer.features)


def test_the_reference_engine_scales_alike():
    case = build("unet")
    scales = scales_of(case)
    rows = VmapEngine(case.losses, case.parameters, scales).gradients(case.batch, 1).gradients
    expected = torch.cat([value.flatten(1) for value in by_hand("unet", scales).values()], dim=1)
    torch.testing.assert_close(rows, expected)
