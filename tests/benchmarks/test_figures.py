"""What the figures' layout keeps."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from retrac_plugin.benchmarks import Queries
from retrac_plugin.benchmarks.figures import cost_against_quality, lds_with_controls
from retrac_plugin.benchmarks.figures.cost import _apart
from retrac_plugin.benchmarks.figures.generated import generated_pictures
from retrac_plugin.benchmarks.figures.timesteps import norms_over_time
from retrac_plugin.benchmarks.rows import ATTAINABLE, CEILING, Row
from retrac_plugin.draws import Request, Strided
from retrac_plugin.metrics import Evidence
from retrac_plugin.randomness import content_key
from retrac_plugin.report.figures.style import COLOURS, OTHER, colour
from tests.benchmarks.tasks import small_task
from tests.textbook import gradient

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


def test_generated_pictures_are_drawn_and_nothing_else():
    assert generated_pictures(small_task()) is None
    task = small_task()
    kind = Queries("generated", torch.zeros(20, 1, 4, 4), Evidence())
    figure = generated_pictures(replace(task, queries=(*task.queries, kind)))
    (drawn,) = figure.axes[0].images
    assert drawn.get_array().shape == (5, 80, 3)  # a row of 16, each with a line around it
    assert drawn.get_array()[0, 0].tolist() == [0.5, 0.5, 0.5]


def rows(kind="generated"):
    of_methods = [
        Row(name, kind, "lds", value, value - 0.1, value + 0.1, True, seconds)
        for name, value, seconds in (("trak", 0.3, 20.0), ("random", 0.0, 0.0), ("mine", 0.1, 5.0))
    ]
    controls = [Row(CEILING, kind, "lds", 0.6), Row(ATTAINABLE, kind, "lds", 0.8)]
    return [*of_methods, *controls, Row("trak", kind, "minority-share@10", 0.5, seconds=20.0)]


def test_lds_is_a_line_a_method_with_its_interval_beside_its_controls():
    (axes,) = (figure := lds_with_controls(rows())).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["random", "mine", "trak"]
    drawn = [[*map(float, line.get_xdata())] for line in axes.lines]
    expected = [[-0.1, 0.1], [0.0], [0.0, 0.2], [0.1], [0.2, 0.4], [0.3], [0.6, 0.6], [0.8, 0.8]]
    for got, wanted in zip(drawn[1:], expected, strict=True):
        assert got == pytest.approx(wanted)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["one retraining: noise ceiling", "best possible"]
    assert figure.get_figwidth() == pytest.approx(3.3)
    two = lds_with_controls([*rows(), *rows("held-out")])
    assert len(two.axes) == 2
    assert two.get_figwidth() == pytest.approx(6.6)


def test_cost_is_a_point_a_method_at_its_seconds():
    (axes,) = (figure := cost_against_quality(rows())).axes
    points = {
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "o"
    }
    assert points == {(20.0, 0.3), (0.01, 0.0), (5.0, 0.1)}  # what takes less is drawn at 0.01
    assert [text.get_text() for text in axes.texts] == ["trak", "random", "mine"]
    assert figure.get_figwidth() == pytest.approx(3.3)


def test_what_was_not_measured_is_not_drawn():
    other = [Row("trak", "generated", "minority-share@10", 0.5, seconds=1.0)]
    assert lds_with_controls(other) is None
    assert cost_against_quality(other) is None
    assert cost_against_quality([Row("trak", "generated", "lds", 0.5)]) is None


def test_norms_over_time_are_those_of_single_gradients():
    task = small_task()
    timesteps, norms = norms_over_time(task, position=2)
    assert timesteps.tolist() == list(range(100))
    step, x = task.checkpoints[-1].step, task.train[2]
    request = Request([0], [content_key(x)], x.shape, "train", 1, 1, step, 100)
    noise = Strided(100).draw(request).noise[0, 40, 0].double()
    task.model.network.load_state_dict(task.checkpoints[-1].parameters)
    bar = task.model.schedule.alphas_cumprod[40].double()
    noisy = bar.sqrt() * x + (1 - bar).sqrt() * noise
    loss = (task.model.network(noisy[None], torch.tensor([40]))[0] - noise).square().mean()
    torch.testing.assert_close(norms[40], gradient(loss, task.model.network).norm())


def test_colours_differ():
    assert len({*COLOURS.values(), OTHER}) == len(COLOURS) + 1
    assert colour("a method of someone else's") == OTHER
