"""What the figures show, read back from them; how wide they are, and how they are written."""

import pytest
import torch

from retrac_plugin import files
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.errors import InputError
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.report import NormRecord
from retrac_plugin.report.figures import (
    influence_against_norm,
    influence_over_training,
    norm_by_timestep,
    save,
)

pytest.importorskip("matplotlib")


def record(count=200):
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.randint(1000, (count,), generator=generator)
    return NormRecord(timesteps, (1 + timesteps / 100) * torch.rand(count, generator=generator))


def test_norm_by_timestep_has_every_visit_and_the_medians_of_twentieths():
    visits = record()
    (axes,) = norm_by_timestep(visits, titles=("all",)).axes
    cloud, middle = axes.lines
    torch.testing.assert_close(torch.as_tensor(cloud.get_xdata()), visits.timesteps.double())
    torch.testing.assert_close(torch.as_tensor(cloud.get_ydata()), visits.norms.double())
    last = visits.timesteps.max().item()
    first = visits.norms[visits.timesteps * 20 < last]
    assert middle.get_xdata()[0] == pytest.approx(last / 40)
    assert middle.get_ydata()[0] == pytest.approx(first.median().item())
    assert (axes.get_yscale(), axes.get_title()) == ("log", "all")


def test_norms_that_are_not_positive_are_left_out_and_none_is_refused():
    norms = torch.tensor([0.0, 2.0, torch.nan])
    (axes,) = norm_by_timestep(NormRecord(torch.tensor([1, 2, 3]), norms)).axes
    assert axes.lines[0].get_xydata().tolist() == [[2.0, 2.0]]
    with pytest.raises(InputError, match="positive and finite"):
        norm_by_timestep(NormRecord(torch.tensor([1]), torch.zeros(1)))
    with pytest.raises(InputError, match="2 titles"):
        norm_by_timestep(record(), titles=("a", "b"))


def test_influence_against_norm_has_the_mean_size_of_each_sample_and_says_the_correlation():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 30, generator=generator)
    norms = torch.rand(2, 30, generator=generator) + 0.1
    figure = influence_against_norm({"A": values, "B": values * norms[0]}, norms)
    assert len(figure.axes) == 2
    (cloud,) = figure.axes[0].lines
    torch.testing.assert_close(torch.as_tensor(cloud.get_xdata()), norms.double().mean(0))
    torch.testing.assert_close(torch.as_tensor(cloud.get_ydata()), values.double().abs().mean(0))
    expected = spearman_rows(norms.mean(0)[None], values.abs().mean(0)[None]).item()
    assert figure.axes[0].get_title() == f"A: rank correlation {expected:.2f}"
    with pytest.raises(InputError, match="of the 30 samples"):
        influence_against_norm({"A": values[:, :9]}, norms)


def terms():
    values = torch.tensor([[[1.0, -2.0, 4.0], [0.5, 0.25, 0.0]]])
    timesteps = torch.tensor([900.0, 100.0, 500.0]).expand(1, 2, 3)
    about = {"method": "Diffusion-ReTrac", "checkpoint_steps": [480, 960]}
    return Breakdown(torch.tensor([[3, 7]]), values, timesteps, about)


def test_influence_over_training_has_a_cell_for_each_term_and_says_their_sum():
    figure = influence_over_training(terms(), 3, 7)
    axes = figure.axes[0]
    (cells,) = axes.collections
    # The last checkpoint below, timesteps in order.
    assert cells.get_array().reshape(2, 3).tolist() == [[0.25, 0.0, 0.5], [-2.0, 4.0, 1.0]]
    assert cells.get_clim() == (-4.0, 4.0)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["100", "500", "900"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["960", "480"]
    assert axes.get_title() == "Diffusion-ReTrac: score +3.75"
    with pytest.raises(InputError, match=r"no pair \(0, 7\); it has \[\(3, 7\)\]"):
        influence_over_training(terms(), 0, 7)


FIGURES = {
    "norm by timestep": lambda: norm_by_timestep(record()),
    "influence against norm": lambda: influence_against_norm(
        {"diffusion-tracin": torch.rand(2, 9) + 1}, torch.rand(9) + 1
    ),
    "influence over training": lambda: influence_over_training(terms(), 3, 7),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_panel_is_as_wide_as_a_column_and_its_letters_can_be_read(name):
    figure = FIGURES[name]()
    assert figure.get_figwidth() == pytest.approx(3.3)
    figure.canvas.draw()
    for axes in figure.axes:
        written = [axes.title, axes.xaxis.label, axes.yaxis.label]
        written += [*axes.get_xticklabels(), *axes.get_yticklabels()]
        assert all(text.get_fontsize() >= 7 for text in written if text.get_text())


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml")]
)
def test_is_written_as_its_ending_says(tmp_path, name, start):
    path = save(norm_by_timestep(record()), tmp_path / name)
    assert path == tmp_path / name
    assert path.read_bytes().startswith(start)


def test_letters_stay_letters_in_vector_files_and_clouds_are_one_picture(tmp_path):
    written = save(norm_by_timestep(record(5000)), tmp_path / "norms.svg").read_text()
    assert ">timestep</text>" in written
    assert written.count("<image") == 1
    assert len(written) < 200_000
    fonts = save(norm_by_timestep(record()), tmp_path / "norms.pdf").read_bytes()
    assert b"/Type3" not in fonts  # which journals refuse
    assert b"/FontFile2" in fonts


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends in .png, .pdf, .svg, got 'a.bmp'"):
        save(norm_by_timestep(record()), tmp_path / "a.bmp")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def disk_full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", disk_full)
    with pytest.raises(OSError, match="disk full"):
        save(norm_by_timestep(record()), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
