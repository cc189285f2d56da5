"""Where gradients lie."""

import torch

from retrac_plugin.gradients import layout
from retrac_plugin.gradients.layout import Layout

SHAPES = {
    "small": (3,),
    "kernel": (5, 4, 3, 2),
    "scalar": (),
    "matrix": (6, 4),
    "table": (1, 7, 2),
    "volume": (2, 2, 2, 2, 3),
}


def parameters():
    return {name: torch.zeros(shape) for name, shape in SHAPES.items()}


def test_rows_and_gradients_by_name_are_the_same():
    shapes = Layout(parameters())
    rows = torch.randn(3, shapes.width)
    by_name = shapes.unflatten(rows)
    assert {name: tuple(value.shape[1:]) for name, value in by_name.items()} == SHAPES
    assert torch.equal(shapes.flatten(by_name), rows)


def test_one_kernel_offset_is_one_block():
    shapes = Layout(parameters())
    gradient = torch.randn(1, 5, 4, 3, 2)
    rows = torch.zeros(1, shapes.width)
    rows[:, shapes.columns["kernel"]] = layout.flat(gradient)
    first = rows[0, shapes.columns["kernel"]][: 5 * 4]
    assert torch.equal(first.view(5, 4), gradient[0, :, :, 0, 0])


def test_small_parameters_share_pages_at_the_end(everything_is_large):
    shapes = Layout(parameters())
    assert shapes.large == ["kernel", "matrix", "table", "volume"]
    assert shapes.pages == [["small", "scalar"]]
    assert shapes.columns["small"].start == shapes.width - 4


def test_pages_are_of_limited_size(everything_is_large):
    shapes = Layout({str(i): torch.zeros(7) for i in range(7)})
    assert [len(names) for names in shapes.pages] == [2, 2, 2, 1]
    covered = [shapes.columns[name] for names in shapes.pages for name in names]
    assert [columns.start for columns in covered] == [7 * i for i in range(7)]


def test_the_layout_depends_on_names_and_shapes_alone():
    other = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    assert Layout(other).columns == Layout(parameters()).columns
