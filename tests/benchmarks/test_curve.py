"""LDS by the number of draws."""

import csv
from dataclasses import replace

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.benchmarks import curve as module
from retrac_plugin.benchmarks.curve import NOISES, curve, write_points
from retrac_plugin.benchmarks.figures.curve import lds_by_passes
from retrac_plugin.benchmarks.outcome import all_queries
from retrac_plugin.metrics.lds import lds
from tests.benchmarks.tasks import HELD_BACK, TRAIN_DRAWS, small_task


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "DRAWS", ((1, 1), (2, 3)))
    with patch.context():
        return curve(small_task(), ["retrac-ridge"], tmp_path_factory.mktemp("kept"), print)


def test_each_point_is_the_methods_own_lds_at_its_draws(points):
    task = small_task()
    (kind,) = (kind for kind in task.queries if kind.evidence.subset_losses is not None)
    start = next(
        sum(len(other.examples) for other in task.queries[:i])
        for i, each in enumerate(task.queries)
        if each is kind
    )
    known = kind.evidence.of_queries(torch.arange(HELD_BACK, len(kind.examples)))
    for noise, rule in (("own", retrac.Strided), ("shared", retrac.Shared)):
        method = plugins.get_attributor("retrac-ridge")(
            task.model, task.checkpoints, train_draws=TRAIN_DRAWS, query_draws=rule(2, 3)
        )
        values = method.attribute(task.train, all_queries(task)).values
        own = values[start + HELD_BACK : start + len(kind.examples)]
        (found,) = (p for p in points if (p.noise, p.passes_each) == (noise, 6) and p.value)
        assert found.value == pytest.approx(lds(own, known))
        assert (found.timesteps, found.noise_draws, found.queries) == (2, 3, kind.name)


def test_the_file_and_the_figure_hold_them(points, tmp_path):
    write_points(points, tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["noise"] for line in lines] == [point.noise for point in points]
    (axes,) = lds_by_passes(points).axes
    drawn = [list(line.get_ydata()) for line in axes.lines if line.get_marker() != "None"]
    known = [[p.value for p in points if p.noise == noise and p.value] for noise in NOISES]
    assert drawn == known


def test_without_a_value_nothing_is_drawn(points):
    bare = [replace(point, value=None) for point in points]
    assert lds_by_passes(bare) is None
