"""The demo's training set."""

import builtins
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from sklearn.datasets import load_digits, load_sample_images

from retrac_adapters.demo import data
from retrac_plugin.errors import InputError, MissingDependencyError

PIECES = len(data.PHOTOS) * data.PIECES_EACH


@pytest.fixture(scope="module")
def whole():
    return data.load()


def test_is_pieces_of_each_photograph_then_digits_in_colour_in_the_unit_range(whole):
    assert whole.images.shape == (PIECES + data.DIGITS, 3, data.SIDE, data.SIDE)
    assert whole.images.dtype == torch.float32
    assert -1 <= whole.images.min() < whole.images.max() <= 1
    expected = [0] * 384 + [1] * 384 + [2] * 384 + [data.DIGIT_LABEL] * 48
    assert whole.labels.tolist() == expected
    assert whole.kinds[::300] == ("temple", "temple", "flower", "portrait")
    assert whole.kinds[-1] == "digit"
    assert whole.is_minority.float().mean() == pytest.approx(0.04)


def test_a_piece_is_what_its_name_says_of_its_photograph(whole):
    for label, photo in enumerate(load_sample_images().images):
        index = label * data.PIECES_EACH + 7
        name, _, place = whole.names[index].partition(" at ")
        left, top = map(int, place.split(", "))
        assert name == data.PHOTOS[label]
        window = photo[top : top + data.WINDOW, left : left + data.WINDOW] / 127.5 - 1
        corner = window[:10, :10].mean((0, 1))
        np.testing.assert_allclose(whole.images[index, :, 0, 0].numpy(), corner, atol=1e-6)
        last = window[-10:, -10:].mean((0, 1))
        np.testing.assert_allclose(whole.images[index, :, -1, -1].numpy(), last, atol=1e-6)


def test_digits_are_scikit_learns_first_in_order_and_grey(whole):
    digits = whole.images[whole.is_minority]
    assert torch.equal(digits[:, 0], digits[:, 1])
    assert torch.equal(digits[:, 0], digits[:, 2])
    small = torch.nn.functional.avg_pool2d(digits[:, :1], 2)[:, 0]
    given = torch.from_numpy(load_digits().images[:48] / 8 - 1).float()
    likeness = torch.corrcoef(torch.cat([small.flatten(1), given.flatten(1)]))[:48, 48:]
    assert torch.equal(likeness.argmax(1), torch.arange(48))
    assert likeness.diagonal().min() > 0.9


def test_pieces_have_contrast_and_names_that_differ(whole):
    pieces = whole.images[~whole.is_minority]
    spread = pieces.flatten(2).std(dim=2, correction=0).mean(1)
    assert (spread >= data.CONTRAST - 1e-6).all()
    assert len(set(whole.names)) > 0.98 * len(whole.names)


def test_load_is_deterministic_and_another_seed_cuts_other_pieces(whole):
    again, other = data.load(), data.load(seed=1)
    assert torch.equal(again.images, whole.images)
    assert again.names == whole.names
    assert torch.equal(other.images[PIECES:], whole.images[PIECES:])
    assert not torch.equal(other.images[:PIECES], whole.images[:PIECES])


@pytest.mark.parametrize("package", ["sklearn", "matplotlib"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name, name=package)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"retrac-plugin\[demo\]"):
        data.load()


def test_missing_sample_data_of_matplotlib_is_told(monkeypatch):
    def gone(*arguments, **given):
        raise FileNotFoundError(2, "No such file", "grace_hopper.jpg")

    monkeypatch.setattr("matplotlib.cbook.get_sample_data", gone)
    with pytest.raises(InputError, match=r"'grace_hopper.jpg' is not there"):
        data.load()
