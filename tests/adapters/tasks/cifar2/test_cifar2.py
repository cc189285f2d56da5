"""The CIFAR-2 task, on a file of its layout."""

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from retrac_adapters.images.image_arrays import VARIABLE
from retrac_adapters.tasks.cifar2 import data
from retrac_adapters.tasks.cifar2.task import CIFAR2, CIFAR2_16, JOBS, SUBSETS
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION
from retrac_plugin import plugins
from retrac_plugin.errors import InputError

OF_EACH = 32


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Noise of two classes in random order, the layout of the real file."""
    path = tmp_path_factory.mktemp("data") / data.NAME
    generator = np.random.default_rng(0)

    def images(count):
        labels = generator.permutation(np.repeat([1, 7], count // 2)).astype(np.uint8)
        return generator.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8), labels

    (train, train_labels), (val, val_labels) = images(100), images(80)
    np.savez(
        path, train_images=train, train_labels=train_labels, val_images=val, val_labels=val_labels
    )
    return path


def test_training_images_are_the_first_of_each_class_in_the_splits_order(path):
    images = data.load(path, OF_EACH, 8)
    with np.load(path) as file:
        labels, pixels = file["train_labels"], file["train_images"]
    wanted = [i for i in range(100) if (labels[: i + 1] == labels[i]).sum() <= OF_EACH]
    assert images.train_labels.tolist() == labels[wanted].tolist()
    block = pixels[wanted[3], :4, :4, 1].astype(float).mean() / 127.5 - 1
    assert images.train[3, 1, 0, 0].item() == pytest.approx(block, abs=1e-6)
    assert len(images.held_out) == SELECTION + REPORTED


def test_halves_hold_equal_shares_of_both_classes(path):
    images = data.load(path, OF_EACH, 8)
    for half in data.halves(3, images.train_labels):
        assert (images.train_labels[half] == 7).sum() == OF_EACH // 2
        assert half.sum() == OF_EACH


def test_halves_are_what_d_traks_rule_draws(path):
    model_selection = pytest.importorskip("sklearn.model_selection")
    labels = data.load(path, OF_EACH, 8).train_labels
    second = model_selection.train_test_split(
        list(range(2 * OF_EACH)), train_size=0.5, random_state=44, stratify=labels.tolist()
    )[0]
    assert data.halves(2, labels)[1].nonzero()[:, 0].tolist() == sorted(second)


def test_too_small_a_set_is_refused(path):
    with pytest.raises(InputError, match="holds 100 of the 400 training images wanted"):
        data.load(path, 200, 8)


def test_regenerating_makes_a_truth_that_the_task_takes(path, tmp_path):
    jobs = ((0, 0), (1, 0))
    quick = replace(
        CIFAR2, data=path, of_each=OF_EACH, epochs=1, jobs=jobs, truth=tmp_path / truth.NAME
    )
    assert quick.regenerate(tmp_path) == tmp_path / truth.NAME
    task = quick.prepare(tmp_path)
    assert [kind.name for kind in task.queries] == ["validation", "generated", "training"]
    for kind in task.queries:
        assert kind.evidence.subset_losses.shape == (2, 1, len(kind.examples))
        assert kind.evidence.train_is_minority is None


def test_a_task_whose_truth_is_not_shipped_says_how_to_make_it_and_then_takes_it(path, tmp_path):
    nowhere = tmp_path / "not shipped.safetensors"
    quick = replace(CIFAR2_16, data=path, of_each=OF_EACH, epochs=1, jobs=((0, 0),), truth=nowhere)
    with pytest.raises(InputError, match="`retrac benchmark cifar2-16 --regenerate` makes it"):
        quick.prepare(tmp_path)
    quick.regenerate(tmp_path)
    task = quick.prepare(tmp_path)
    assert task.about["ground truth"] == "1 subsets, 1 seeds, made anew"
    assert task.queries[1].examples.shape == (SELECTION + REPORTED, 3, 16, 16)


def test_the_larger_network_has_between_200_and_400_thousand_parameters(path):
    start = replace(CIFAR2_16, data=path, of_each=OF_EACH).task().procedure(64, 0).start
    assert sum(p.numel() for p in start.network(0).parameters()) == 263_603


def test_the_tasks_are_registered():
    assert plugins.get_task("cifar2") is CIFAR2
    assert plugins.get_task("cifar2-16") is CIFAR2_16


def test_the_shipped_truth_is_small_and_whole():
    path = truth.shipped("retrac_adapters.tasks.cifar2")
    assert path.stat().st_size < 300_000
    known = truth.read(path, "cifar2")
    assert known.subsets.shape == (SUBSETS, 2 * CIFAR2.of_each)
    assert known.losses.shape == (2, SUBSETS, 2 * (SELECTION + REPORTED) + REPORTED)
    trained = {(int(s), int(m)) for s, m in known.losses.isfinite().all(2).nonzero()}
    assert trained == set(JOBS)


@pytest.mark.skipif(VARIABLE not in os.environ, reason="needs the data")
def test_the_shipped_subsets_are_d_traks_of_the_images_that_the_task_loads():
    task = CIFAR2.task()
    assert truth.read(task.truth, "cifar2").subsets.equal(task.subsets)
