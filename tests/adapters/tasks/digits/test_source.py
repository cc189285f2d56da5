import builtins
import sys

import pytest
import torch

pytest.importorskip("sklearn")

from retrac_adapters.tasks.digits import source as data


@pytest.fixture(scope="module")
def whole():
    return data.digits_and_patches()


def test_shapes_and_types(whole):
    count = len(whole.images)
    assert whole.images.shape == (1797 + data.PATCH_COUNT, 1, data.SIDE, data.SIDE)
    assert whole.images.dtype == torch.float32
    assert whole.labels.shape == whole.is_minority.shape == (count,)
    assert whole.labels.dtype == torch.int64
    assert whole.is_minority.dtype == torch.bool


def test_images_lie_in_the_unit_range(whole):
    assert whole.images.min() >= -1
    assert whole.images.max() <= 1


def test_digits_use_the_whole_range(whole):
    digits = whole.images[~whole.is_minority]
    assert digits.min() == -1
    assert digits.max() == 1


def test_digits_come_first_then_patches(whole):
    assert not whole.is_minority[:1797].any()
    assert whole.is_minority[1797:].all()


def test_labels_are_the_digits_and_minus_one_for_patches(whole):
    assert set(whole.labels[~whole.is_minority].tolist()) == set(range(10))
    assert set(whole.labels[whole.is_minority].tolist()) == {data.PATCH_LABEL}


def test_minority_is_about_four_percent(whole):
    assert 0.035 <= whole.is_minority.float().mean() <= 0.045


def test_patches_have_contrast_and_differ(whole):
    patches = whole.images[whole.is_minority].flatten(1)
    assert (patches.std(dim=1, correction=0) >= data.PATCH_CONTRAST - 1e-6).all()
    assert len(patches.unique(dim=0)) == data.PATCH_COUNT


def test_load_is_deterministic(whole):
    again = data.digits_and_patches()
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.labels, whole.labels)


def test_another_seed_cuts_other_patches_and_keeps_the_digits(whole):
    other = data.digits_and_patches(seed=1)
    is_minority = whole.is_minority
    assert torch.equal(other.images[~is_minority], whole.images[~is_minority])
    assert not torch.equal(other.images[is_minority], whole.images[is_minority])


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
        data.digits_and_patches()
