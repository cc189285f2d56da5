"""Features: exact images of rows, unbiased, with the error that the formulas promise."""

import dataclasses

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.gradients import cutting
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.projections import ByLayer, CountSketch, Factored
from retrac_plugin.gradients.projections.by_layer import group_of, groups_of
from retrac_plugin.gradients.rules.linear import LinearProducts
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.gradients import by_the_book
from tests.gradients.cases import CASES, build

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

both_projections = pytest.mark.parametrize(
    "projection",
    [CountSketch(64, seed=3), Factored(3, small=16, seed=3), ByLayer(CountSketch(16, seed=3))],
    ids=repr,
)


def features_of(case, projection, draws=1):
    engine = StreamedEngine(case.losses, case.parameters)
    (features,) = engine.features([case.batch], draws, projection)
    return features


def project(projection, case, rows):
    """Project rows that are there as a whole, parameter by parameter."""
    layout = Layout(case.parameters)
    consumer = projection.prepare(layout, rows).consumer(len(rows))
    for columns in layout.columns.values():
        consumer.block(slice(0, len(rows)), columns, rows[:, columns])
    return consumer.features


@both_projections
@pytest.mark.parametrize("name", CASES)
def test_streamed_features_are_those_of_the_rows(name, projection, everything_is_large):
    case = build(name)
    for draws in (1, 2):
        rows = Layout(case.parameters).flatten(by_the_book.rows_of(name, draws))
        found = features_of(case, projection, draws).features
        expected = project(projection, case, rows)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * expected.abs().max())


def test_norms_beside_a_sketch_are_exact():
    found = features_of(build("unet"), CountSketch(16)).norms
    expected = by_the_book.flat(by_the_book.rows_of("unet")).norm(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_groups_of_layers_are_told_apart_exactly():
    """A sketch wider than a row loses nothing: products of a group's features are its rows'."""
    case = build("unet")
    layout = Layout(case.parameters)
    rows = layout.flatten(by_the_book.rows_of("unet"))
    found = features_of(case, ByLayer(CountSketch(layout.width)))
    groups = groups_of(case.parameters)
    assert found.features.shape[1] == len(groups) * layout.width
    assert len(groups) > 5
    for place, group in enumerate(groups):
        own = found.features[:, place * layout.width : (place + 1) * layout.width]
        columns = [layout.columns[n] for n in case.parameters if group_of(n) == group]
        expected = torch.cat([rows[:, each] for each in columns], 1)
        torch.testing.assert_close(own @ own.T, expected @ expected.T, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.norms, rows.norm(dim=1), rtol=1e-9, atol=0)


def test_groups_are_named_by_the_first_number():
    assert group_of("up_blocks.1.resnets.0.conv1.weight") == "up_blocks.1"
    assert group_of("base.model.down_blocks.0.x") == "base.model.down_blocks.0"
    assert groups_of(["conv_in.weight", "conv_in.bias", "mid_block.attentions.0.to_q"]) == [
        "conv_in",
        "mid_block.attentions.0",
    ]


def test_norms_beside_factored_features_are_theirs():
    features = features_of(build("unet"), Factored(4))
    torch.testing.assert_close(features.norms, features.features.norm(dim=1))


def seeded(projection, seed):
    if isinstance(projection, ByLayer):
        return ByLayer(seeded(projection.each, seed))
    return dataclasses.replace(projection, seed=seed)


@both_projections
def test_the_seed_decides(projection):
    case = build("linear")
    first, again = (features_of(case, projection).features for _ in range(2))
    other = features_of(case, seeded(projection, 4)).features
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def sketch(vectors, dimension, seed):
    layout = Layout({"p": vectors[0]})
    consumer = CountSketch(dimension, seed).prepare(layout, vectors).consumer(len(vectors))
    consumer.block(slice(0, len(vectors)), slice(0, vectors.shape[1]), vectors)
    return consumer.features


def test_a_sketch_adds_signed_coordinates_modulo_the_dimension():
    vector = torch.randn(23, dtype=torch.float64)
    signs = CountSketch(5).prepare(Layout({"p": vector}), vector).signs
    expected = torch.zeros(5, dtype=torch.float64)
    for i in range(23):
        assert signs[i] in (-1, 1)
        expected[i % 5] += signs[i] * vector[i]
    torch.testing.assert_close(sketch(vector[None], 5, 0)[0], expected)


def test_a_sketch_does_not_depend_on_how_rows_are_cut():
    vectors = torch.randn(2, 40, dtype=torch.float64)
    prepared = CountSketch(7).prepare(Layout({"p": vectors[0]}), vectors)
    consumer = prepared.consumer(2)
    for start, stop in ((0, 3), (3, 24), (24, 25), (25, 40)):
        consumer.block(slice(0, 2), slice(start, stop), vectors[:, start:stop])
    torch.testing.assert_close(consumer.features, sketch(vectors, 7, 0))


def assert_estimates(found, mean, variance):
    """Assert what many independent estimates have for mean and variance, within 5 errors."""
    count = len(found)
    assert abs(found.mean() - mean) < 5 * (variance / count) ** 0.5
    fourth = ((found - found.mean()) ** 4).mean()
    assert abs(found.var() - variance) < 5 * ((fourth - variance**2) / count) ** 0.5


def test_laps_that_are_added_together_are_those_added_one_by_one(monkeypatch):
    vectors = torch.randn(3, 50, dtype=torch.float64)
    expected = sketch(vectors, 7, 0)
    monkeypatch.setattr(cutting, "IN_CACHE", cutting.LARGE)
    torch.testing.assert_close(sketch(vectors, 7, 0), expected)
    prepared = CountSketch(7, 0).prepare(Layout({"p": vectors[0]}), vectors)
    consumer = prepared.consumer(3)
    for start, stop in ((0, 5), (5, 36), (36, 50)):  # before a lap's end, over four, into one
        consumer.block(slice(0, 3), slice(start, stop), vectors[:, start:stop])
    torch.testing.assert_close(consumer.features, expected)


def test_sketched_products_have_the_promised_error():
    torch.manual_seed(0)
    x, y = torch.randn(2, 30, dtype=torch.float64)
    y += x
    found = torch.stack([torch.dot(*sketch(torch.stack([x, y]), 6, seed)) for seed in range(1500)])
    variance = sum(
        x[i] ** 2 * y[k] ** 2 + x[i] * y[i] * x[k] * y[k]
        for i in range(30)
        for k in range(30)
        if i != k and i % 6 == k % 6
    )
    assert_estimates(found, torch.dot(x, y), variance)


def test_factored_products_have_the_promised_error(everything_is_large):
    torch.manual_seed(0)
    side = 2
    a, c = torch.randn(2, 5, dtype=torch.float64)
    b, d = torch.randn(2, 6, dtype=torch.float64)
    layout = Layout({"weight": torch.zeros(5, 6, dtype=torch.float64)})
    products = LinearProducts(torch.stack([b, d]), torch.stack([a, c]), rows=2)

    def estimate(seed):
        consumer = Factored(side, small=1, seed=seed).prepare(layout, a).consumer(2)
        consumer.outer(slice(0, 2), slice(0, 30), products)
        return torch.dot(*consumer.features)

    def second_moment(x, y):
        inner = torch.dot(x, y) ** 2
        return inner + (torch.dot(x, x) * torch.dot(y, y) + inner) / side

    found = torch.stack([estimate(seed) for seed in range(1500)])
    mean = torch.dot(a, c) * torch.dot(b, d)
    assert_estimates(found, mean, second_moment(a, c) * second_moment(b, d) - mean**2)


def test_sides_that_are_short_already_are_kept(everything_is_large):
    layout = Layout({"weight": torch.zeros(2, 6, dtype=torch.float64)})
    gradient = torch.randn(3, 12, dtype=torch.float64)
    consumer = Factored(6, small=1).prepare(layout, gradient).consumer(3)
    consumer.block(slice(0, 3), slice(0, 12), gradient)
    torch.testing.assert_close(consumer.features @ consumer.features.T, gradient @ gradient.T)


def test_dimensions_must_be_positive():
    with pytest.raises(InputError, match="dimension must be at least 1, got 0"):
        CountSketch(0)
    with pytest.raises(InputError, match="side and small must be at least 1, got 0, 256"):
        Factored(0)
