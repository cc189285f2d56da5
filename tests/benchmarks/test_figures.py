"""What the figures' layout keeps."""

from itertools import pairwise

from retrac_plugin.benchmarks.figures.cost import _apart
from retrac_plugin.benchmarks.figures.style import COLOURS, OTHER, colour


def test_labels_are_kept_apart_and_in_order():
    values = [0.0, 0.5, 0.01, 0.02, 0.5]
    heights = _apart(values, 0.1)
    placed = sorted(heights)
    assert all(b - a > 0.1 - 1e-9 for a, b in pairwise(placed))
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    assert sorted(range(len(values)), key=heights.__getitem__) == order


def test_labels_that_are_apart_stay_at_their_values():
    assert _apart([0.0, 1.0, 2.0], 0.1) == [0.0, 1.0, 2.0]


def test_colours_differ():
    assert len({*COLOURS.values(), OTHER}) == len(COLOURS) + 1
    assert colour("a method of someone else's") == OTHER
