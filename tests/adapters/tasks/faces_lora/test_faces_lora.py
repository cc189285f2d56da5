"""The fine-tuning task, on a file of its layout."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("peft")
pytest.importorskip("sklearn")


from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.faces_lora import base as bases
from retrac_adapters.tasks.faces_lora import data
from retrac_adapters.tasks.faces_lora.base import SIDE
from retrac_adapters.tasks.faces_lora.task import FACES_LORA
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.looking import draw
from retrac_adapters.tasks.retrained.stacked import Training, train_together
from retrac_plugin import plugins
from retrac_plugin.draws import Strided
from retrac_plugin.errors import InputError
from tests.adapters.tasks.plain_training import train_plainly

JOBS = ((0, 0), (0, 1))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Noise, each person's of another brightness and in no order, the layout of the real file."""
    generator = np.random.default_rng(0)
    person = generator.permutation(np.repeat(np.arange(40, dtype=np.uint8), 10))
    images = generator.integers(0, 50, (400, 64, 64), dtype=np.uint8) + 5 * person[:, None, None]
    path = tmp_path_factory.mktemp("data") / data.NAME
    np.savez(path, images=images, person=person)
    return path


@pytest.fixture(scope="module")
def quick(path, tmp_path_factory):
    """The task with a base of one pass, tuned for two; its ground truth is in ``work``."""
    folder = tmp_path_factory.mktemp("work")
    made = replace(
        FACES_LORA,
        data=path,
        epochs=2,
        base_epochs=1,
        jobs=JOBS,
        rest_seeds=1,
        sampling_steps=4,
        loss_draws=Strided(2, seed=1),
    )
    found = made.regenerate(folder)
    return replace(made, truth=found, base=folder / bases.NAME), folder


def test_the_base_sees_no_one_that_the_adapter_learns(path):
    base, images = data.load(path, SIDE)
    with np.load(path) as file:
        person, pixels = file["person"], file["images"]
    brightness = [pixels[person == one].mean() / 127.5 - 1 for one in range(40)]
    assert len(base) == 280
    assert base.mean((1, 2, 3)).view(28, 10).mean(1).tolist() == pytest.approx(
        brightness[:28], abs=1e-5
    )
    assert sorted(set(images.train_labels.tolist())) == list(range(28, 40))
    everyone = torch.cat([base, images.train, images.held_out]).flatten(1)
    assert len(everyone.unique(dim=0)) == 400


def test_the_queries_that_choose_and_those_reported_show_everyone_alike(path):
    _, images = data.load(path, SIDE)
    chosen, reported = images.held_out_labels[:24], images.held_out_labels[24:]
    assert torch.bincount(chosen)[28:].tolist() == [2] * 12
    assert torch.bincount(reported)[28:].tolist() == [3] * 12


def test_without_each_leaves_one_person_out(path):
    _, images = data.load(path, SIDE)
    rest = data.without_each(images.train_labels)
    assert rest.shape == (12, 60)
    for person, kept in zip(range(28, 40), rest, strict=True):
        assert set(images.train_labels[~kept].tolist()) == {person}
        assert kept.sum() == 55


def test_a_file_with_too_few_pictures_is_refused(tmp_path):
    short = tmp_path / data.NAME
    np.savez(short, images=np.zeros((39, 64, 64), np.uint8), person=np.arange(39) // 10)
    with pytest.raises(InputError, match="holds 4 people with 9 to 10 pictures each"):
        data.load(short, SIDE)


def test_adapters_trained_together_are_those_of_a_plain_loop(quick):
    """One adapter in its network, trained step by step with the plain optimiser."""
    task = quick[0].task()
    images, procedure = task.images.train, task.procedure(30, 0)
    recipe, start = procedure.recipe, procedure.start
    members = task.subsets[0].nonzero()[:, 0]
    network = start.network(3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    step = train_plainly(network, images, members, recipe, 3, quick[0].epochs)
    assert step == recipe.steps
    other = task.subsets[1].nonzero()[:, 0]
    found = train_together(images, [Training(other, 8), Training(members, 3)], recipe, start)[1]
    assert set(found) == set(trained)
    assert all(".lora_" in name for name in found)
    for name, value in network.state_dict().items():
        if name in trained:
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
        else:
            assert value.equal(before[name])
    assert max((found[n] - before[n]).abs().max() for n in found) > 1e-3


def test_the_task_attributes_the_adapter_alone_of_the_run_that_drew_its_pictures(quick):
    source, folder = quick
    task, procedure = source.prepare(folder), source.task().procedure(60, 0)
    names = task.model.attributed_names()
    assert names
    assert all(".lora_" in name for name in names)
    assert [checkpoint.step for checkpoint in task.checkpoints] == [1, 3, 4, 6, 8]
    drawn = draw(task.checkpoints[-1].load(), procedure, 72)
    assert drawn.equal(task.queries[1].examples)
    assert task.train_draws.per_sample() == (1, 1)
    assert not train_once(
        source.task().images.train, procedure.recipe, folder / "run", procedure.start
    )


def test_groups_left_out_are_a_kind_of_query_of_their_own(quick):
    source, folder = quick
    task = source.prepare(folder)
    kinds = {kind.name: kind for kind in task.queries}
    assert list(kinds) == [
        *("validation", "generated", "training"),
        *("validation-groups", "generated-groups", "training-groups"),
    ]
    known = truth.read(source.truth, "faces-lora")
    one = kinds["validation-groups"]
    assert one.held_back == 0
    assert one.examples.equal(kinds["validation"].examples[24:])
    assert one.evidence.subsets.equal(data.without_each(source.task().images.train_labels))
    assert one.evidence.subset_losses.equal(known.rest_losses[..., 24:60])
    assert kinds["training-groups"].evidence.subset_losses.equal(known.rest_losses[..., 132:])


def test_another_base_is_never_taken_for_the_one_that_a_run_was_tuned_from(quick, tmp_path):
    source, _ = quick
    procedure = source.task().procedure(60, 0)
    other = tmp_path / bases.NAME
    other.write_bytes(source.base.read_bytes()[:-2] + b"\0\0")
    elsewhere = replace(source, base=other).task().procedure(60, 0)
    assert procedure.start.about != elsewhere.start.about


def test_a_truth_made_anew_is_taken_with_the_base_made_with_it(quick):
    source, folder = quick
    nothing = folder / "nothing"
    task = replace(source, truth=nothing, base=nothing).prepare(folder)
    assert task.about["base"] == source.task().procedure(60, 0).start.about["base"]
    assert task.about["ground truth"] == "2 subsets, 1 seeds, made anew"


def test_the_task_is_registered():
    assert plugins.get_task("faces-lora") is FACES_LORA
