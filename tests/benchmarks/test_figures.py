"""What the figures' layout keeps."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from retrac_plugin.benchmarks import Queries
from retrac_plugin.benchmarks.figures.cost import _apart
from retrac_plugin.benchmarks.figures.generated import draw_generated
from retrac_plugin.benchmarks.figures.style import COLOURS, OTHER, colour
from retrac_plugin.metrics import Evidence
from tests.benchmarks.tasks import small_task

pytest.importorskip("matplotlib")


def test_labels_are_kept_apart_and_in_order():
    values = [0.0, 0.5, 0.01, 0.02, 0.5]
    heights = _apart(values, 0.1)
    placed = sorted(heights)
    assert all(b - a > 0.1 - 1e-9 for a, b in pairwise(placed))
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    assert sorted(range(len(values)), key=heights.__getitem__) == order


def test_labels_that_are_apart_stay_at_their_values():
    assert _apart([0.0, 1.0, 2.0], 0.1) == [0.0, 1.0, 2.0]


def test_generated_pictures_are_drawn_and_nothing_else(tmp_path):
    assert draw_generated(small_task(), tmp_path / "none.png") is None
    task = small_task()
    kind = Queries("generated", torch.zeros(20, 1, 4, 4), Evidence())
    path = draw_generated(replace(task, queries=(*task.queries, kind)), tmp_path / "some.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_colours_differ():
    assert len({*COLOURS.values(), OTHER}) == len(COLOURS) + 1
    assert colour("a method of someone else's") == OTHER
