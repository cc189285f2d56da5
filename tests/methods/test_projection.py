"""The count-sketch."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.methods.projection import CountSketch

CPU = torch.device("cpu")


def rows(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).double()


def project(sketch, values):
    return sketch(values.shape[1], CPU, values.dtype)(values)


def test_equals_the_textbook():
    values = rows(2, 11)
    found = project(CountSketch(4, seed=3), values)
    signs = project(CountSketch(11, seed=3), torch.ones(1, 11).double())[0]
    expected = torch.zeros(2, 4).double()
    for j in range(11):
        expected[:, j % 4] += signs[j] * values[:, j]
    assert set(signs.tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dimension", [30, 31, 1000])
def test_enough_numbers_keep_inner_products_exactly(dimension):
    values = rows(4, 30)
    found = project(CountSketch(dimension), values)
    assert found.shape == (4, 30)
    torch.testing.assert_close(found @ found.T, values @ values.T)


def test_inner_products_are_right_on_average():
    values = rows(2, 60)
    found = [project(CountSketch(8, seed=seed), values) for seed in range(2000)]
    products = torch.stack([a @ b for a, b in found])
    error = products.std() / len(products) ** 0.5
    assert abs(products.mean() - values[0] @ values[1]) < 4 * error


def test_error_falls_as_one_over_the_root_of_the_dimension():
    values = rows(2, 4096)
    exact = values[0] @ values[1]

    def spread(dimension):
        found = [project(CountSketch(dimension, seed=seed), values) for seed in range(200)]
        return torch.stack([a @ b - exact for a, b in found]).square().mean().sqrt()

    assert spread(64) / spread(1024) == pytest.approx(4, rel=0.25)


def test_the_same_seed_gives_the_same_projection():
    values = rows(1, 50)
    assert project(CountSketch(7, seed=1), values).equal(project(CountSketch(7, seed=1), values))
    assert not project(CountSketch(7, seed=2), values).equal(project(CountSketch(7, 1), values))


def test_dimension_must_be_positive():
    with pytest.raises(InputError, match="dimension must be at least 1, got 0"):
        CountSketch(0)
