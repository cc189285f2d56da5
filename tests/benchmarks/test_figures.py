"""What the figures' layout keeps."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from retrac_plugin.benchmarks import Queries
from retrac_plugin.benchmarks.figures.cost import _apart
from retrac_plugin.benchmarks.figures.generated import draw_generated
from retrac_plugin.benchmarks.figures.style import COLOURS, OTHER, colour
from retrac_plugin.benchmarks.figures.timesteps import norms_over_time
from retrac_plugin.draws import Request, Strided
from retrac_plugin.metrics import Evidence
from retrac_plugin.randomness import content_key
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


def test_generated_pictures_are_drawn_and_nothing_else(tmp_path):
    assert draw_generated(small_task(), tmp_path / "none.png") is None
    task = small_task()
    kind = Queries("generated", torch.zeros(20, 1, 4, 4), Evidence())
    path = draw_generated(replace(task, queries=(*task.queries, kind)), tmp_path / "some.png")
    assert path.read_bytes().startswith(b"\x89PNG")


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
