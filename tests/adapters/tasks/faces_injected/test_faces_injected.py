"""Source injection, on a file of the faces' layout."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("peft")
pytest.importorskip("sklearn")

from retrac_adapters.tasks.digits.source import digits_and_patches
from retrac_adapters.tasks.faces_injected import data
from retrac_adapters.tasks.faces_injected.task import FACES_INJECTED, queries_of
from retrac_plugin import plugins
from retrac_plugin.errors import InputError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    generator = np.random.default_rng(0)
    person = np.repeat(np.arange(40, dtype=np.uint8), 10)
    images = generator.integers(0, 255, (400, 64, 64), dtype=np.uint8)
    path = tmp_path_factory.mktemp("data") / "olivetti_faces.npz"
    np.savez(path, images=images, person=person)
    return path


@pytest.fixture(scope="module")
def images(path):
    return data.load(path, 16)


def test_six_of_each_source_are_among_the_faces(images):
    labels = images.train_labels
    assert len(labels) == 72
    assert [int((labels == one).sum()) for one in (data.DIGITS, data.PATCHES)] == [6, 6]
    assert set(labels[:60].tolist()) == set(range(28, 40))
    assert images.train.shape == (72, 1, 16, 16)
    assert -1 <= images.train.min() < images.train.max() <= 1


def test_no_query_is_trained_on(images):
    assert torch.cdist(images.train.flatten(1), images.held_out.flatten(1)).min() > 0


def test_digits_are_enlarged_by_repeating_pixels():
    small, large = digits_and_patches(0), digits_and_patches(0, 16)
    own = ~small.is_minority
    assert large.images[own][:, :, ::2, 1::2].equal(small.images[own])
    assert large.images.shape[-2:] == (16, 16)


def test_larger_patches_are_pieces_of_the_same_photographs():
    small, large = digits_and_patches(0), digits_and_patches(0, 16)
    first = int(large.is_minority.nonzero()[0])
    averaged = torch.nn.functional.avg_pool2d(large.images[first], 2)
    torch.testing.assert_close(averaged, small.images[first], rtol=1e-5, atol=1e-5)


def test_each_kind_of_query_looks_for_its_own_source(images):
    kinds = {kind.name: kind.evidence for kind in queries_of(images)}
    assert list(kinds) == ["digits", "patches", "faces"]
    assert [int(known.train_is_minority.sum()) for known in kinds.values()] == [6, 6, 12]
    assert [known.query_is_minority.float().mean() for known in kinds.values()] == [1, 1, 0]
    assert kinds["patches"].train_is_minority.nonzero()[:, 0].tolist() == [*range(66, 72)]
    assert all(len(known.query_labels) == 24 for known in kinds.values())


def test_the_task_attributes_the_adapter_alone(path, tmp_path):
    task = replace(FACES_INJECTED, data=path, epochs=1).prepare(tmp_path)
    assert all(".lora_" in name for name in task.model.attributed_names())
    assert task.checkpoints[-1].step == 6
    assert task.train_draws.per_sample() == (1, 1)
    assert len(task.train) == 72


def test_there_is_no_retraining(tmp_path):
    with pytest.raises(InputError, match="no ground truth of retraining"):
        FACES_INJECTED.regenerate(tmp_path)


def test_the_task_is_registered():
    assert plugins.get_task("faces-injected") is FACES_INJECTED
