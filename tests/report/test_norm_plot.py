import pytest
import torch

from retrac_plugin.report import NormRecord, norm_plot
from retrac_plugin.report.norm_plot import lay_out


def record(norms, timesteps=None):
    norms = torch.as_tensor(norms)
    return NormRecord(torch.arange(norms.numel()) if timesteps is None else timesteps, norms)


def test_everything_lies_in_the_plot_area():
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.randint(1000, (3, 700), generator=generator)
    plot = lay_out(NormRecord(timesteps, torch.randn(3, 700, generator=generator).exp()))
    assert len(plot.points) == norm_plot.MOST_POINTS < plot.count == 2100
    for x, y in plot.points:
        assert norm_plot.LEFT <= x <= norm_plot.RIGHT
        assert norm_plot.TOP <= y <= norm_plot.BOTTOM
    assert [tick.text for tick in plot.x_ticks] == ["0", "200", "400", "600", "800"]


def test_spread_is_the_ratio_of_medians():
    norms = torch.where(torch.arange(1000) < 500, 8.0, 2.0)
    assert lay_out(record(norms)).spread == pytest.approx(4)


def test_norms_without_logarithm_are_left_out():
    plot = lay_out(record([1.0, 0.0, float("nan"), float("inf"), 10.0]))
    assert len(plot.points) == 2
    assert lay_out(record([0.0, 0.0])) is None


@pytest.mark.parametrize("norms", [[3.0], [3.0] * 50, [3.0, 3.9], [1e-9, 1e9]])
def test_there_are_always_two_marks_or_more(norms):
    assert len(lay_out(record(norms)).y_ticks) >= 2


def test_one_timestep_is_enough():
    assert lay_out(record([1.0, 2.0], torch.zeros(2))).spread is None
