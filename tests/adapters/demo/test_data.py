import builtins
import sys

import pytest
import torch

pytest.importorskip("sklearn")

from retrac_adapters.demo import data


@pytest.fixture(scope="module")
def demo_data():
    return data.load()


def test_shapes_and_types(demo_data):
    count = len(demo_data.images)
    assert demo_data.images.shape == (1797 + data.PATCH_COUNT, 1, data.SIDE, data.SIDE)
    assert demo_data.images.dtype == torch.float32
    assert demo_data.labels.shape == demo_data.is_minority.shape == (count,)
    assert demo_data.labels.dtype == torch.int64
    assert demo_data.is_minority.dtype == torch.bool


def test_images_lie_in_the_unit_range(demo_data):
    assert demo_data.images.min() >= -1
    assert demo_data.images.max() <= 1


def test_digits_use_the_whole_range(demo_data):
    digits = demo_data.images[~demo_data.is_minority]
    assert digits.min() == -1
    assert digits.max() == 1


def test_digits_come_first_then_patches(demo_data):
    assert not demo_data.is_minority[:1797].any()
    assert demo_data.is_minority[1797:].all()


def test_labels_are_the_digits_and_minus_one_for_patches(demo_data):
    assert set(demo_data.labels[~demo_data.is_minority].tolist()) == set(range(10))
    assert set(demo_data.labels[demo_data.is_minority].tolist()) == {data.PATCH_LABEL}


def test_minority_is_about_four_percent(demo_data):
    assert 0.035 <= demo_data.is_minority.float().mean() <= 0.045


def test_patches_have_contrast_and_differ(demo_data):
    patches = demo_data.images[demo_data.is_minority].flatten(1)
    assert (patches.std(dim=1, correction=0) >= data.PATCH_CONTRAST - 1e-6).all()
    assert len(patches.unique(dim=0)) == data.PATCH_COUNT


def test_load_is_deterministic(demo_data):
    again = data.load()
    assert torch.equal(again.images, demo_data.images)
    assert torch.equal(again.labels, demo_data.labels)


def test_another_seed_cuts_other_patches_and_keeps_the_digits(demo_data):
    other = data.load(seed=1)
    is_minority = demo_data.is_minority
    assert torch.equal(other.images[~is_minority], demo_data.images[~is_minority])
    assert not torch.equal(other.images[is_minority], demo_data.images[is_minority])


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    errors = pytest.importorskip("retrac_plugin.errors")
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(errors.MissingDependencyError, match=r"retrac-plugin\[demo\]"):
        data.load()
