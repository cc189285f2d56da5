"""The grid: its size, what is written in it, and which pictures lie where."""

import builtins
import subprocess
import sys

import pytest
import torch

from retrac_plugin.errors import InputError, MissingDependencyError
from retrac_plugin.report.figures import IN_A_COLUMN, proponent_grid
from retrac_plugin.report.images import pixels
from tests.report import sample


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def pictures(figure):
    return [image.get_array() for image in figure.axes[0].images]


def test_grows_with_queries_and_images():
    pytest.importorskip("matplotlib")
    width, height = proponent_grid(sample.report()).get_size_inches()
    fewer = proponent_grid(sample.report(k=2), queries=[1]).get_size_inches()
    assert 4 < fewer[0] < width
    assert 2 < fewer[1] < height


def test_has_the_pictures_and_scores_of_each_method_in_order():
    pytest.importorskip("matplotlib")
    report = sample.report()
    figure = proponent_grid(report, queries=[2])
    expected = [report.query_images[2]]
    for method in report.methods:
        for found in (method.scores.proponents(4), method.scores.opponents(4)):
            expected += [report.train_images[index] for index in found.indices[2].tolist()]
    drawn = pictures(figure)
    assert len(drawn) == len(expected)
    for image, wanted in zip(drawn, expected, strict=True):
        assert torch.equal(torch.as_tensor(image), torch.as_tensor(pixels(wanted, 320)[..., 0]))
    top = report.methods[1].scores.proponents(4)
    numbers = [text for text in texts(figure) if text.startswith("#")]
    assert [text.split()[0] for text in numbers[8:12]] == [f"#{i}" for i in top.indices[2].tolist()]
    assert f"+{top.values[2, 0]:.2f}" in texts(figure)
    assert "Diffusion-TracIn   scores \N{MULTIPLICATION SIGN} 10⁻⁵" in texts(figure)


def test_in_a_column_it_is_as_wide_as_one_with_five_proponents_and_letters_to_read():
    pytest.importorskip("matplotlib")
    report = sample.report(k=8)
    figure = proponent_grid(report, [0, 1], IN_A_COLUMN)
    assert figure.get_figwidth() == pytest.approx(3.3)
    assert len(pictures(figure)) == 2 * (1 + 2 * 5)
    right = max(image.get_extent()[1] for image in figure.axes[0].images)
    assert right <= 3.3
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 6
    assert not any("Opponents" in text for text in texts(figure))


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": (), "query_labels": (), "train_is_minority": None},
        {"train_images": torch.zeros(sample.TRAIN, 3, 20, 300)},
        {"train_labels": ["costs $5 or $6"] * sample.TRAIN},
    ],
    ids=["no labels", "colour", "no mathematics"],
)
def test_draws_what_there_is(changes):
    pytest.importorskip("matplotlib")
    figure = proponent_grid(sample.report(**changes), [0])
    figure.canvas.draw()
    assert len(pictures(figure)) == 1 + 2 * 2 * 4


@pytest.mark.parametrize("queries", [[3], [-1], []])
def test_refuses_queries_that_do_not_exist(queries):
    with pytest.raises(InputError, match="positions from 0 to 2"):
        proponent_grid(sample.report(), queries)


def test_says_what_to_install(monkeypatch):
    really_import = builtins.__import__

    def without_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return really_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingDependencyError, match=r"pip install 'retrac-plugin\[report\]'"):
        proponent_grid(sample.report())


def test_importing_the_report_imports_no_matplotlib():
    code = "import sys, retrac_plugin.report.figures; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
