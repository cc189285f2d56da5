"""The digits task."""

import pytest
import torch

pytest.importorskip("sklearn")

from retrac_adapters.demo.starting import from_scratch
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.digits import data
from retrac_adapters.tasks.digits.task import CONTINUED, DIGITS, JOBS, SUBSETS, Digits
from retrac_adapters.tasks.retrained import looking, retraining, truth
from retrac_adapters.tasks.retrained.images import REPORTED, SELECTION
from retrac_adapters.tasks.retrained.procedure import whole
from retrac_adapters.tasks.retrained.recipe import BATCH_SIZE, CHANNELS, network, recipe_for
from retrac_adapters.tasks.retrained.stacked import Training, train_together
from retrac_plugin.errors import InputError
from tests.adapters.tasks.plain_training import train_plainly

EPOCHS = 1
NETWORK = network(8, 1, CHANNELS)
SHIPPED = truth.shipped("retrac_adapters.tasks.digits")


@pytest.fixture(scope="module")
def digits():
    return data.load()


@pytest.fixture(scope="module")
def images(digits):
    return digits.train[: 4 * BATCH_SIZE]


@pytest.fixture
def subsets(images):
    return retraining.random_halves(3, len(images))


def test_held_out_digits_are_not_trained_on(digits):
    train, held_out = digits.train.flatten(1), digits.held_out.flatten(1)
    assert torch.cdist(train, held_out).min() > 0
    assert len(train) == 512
    assert (digits.train_labels == data.PATCH_LABEL).sum() == data.TRAIN_PATCHES


def test_every_batch_is_full(digits):
    assert len(digits.train) % (2 * BATCH_SIZE) == 0


def test_halves_are_halves_and_a_prefix_of_more(subsets, images):
    assert (subsets.sum(1) == len(images) // 2).all()
    assert retraining.random_halves(5, len(images))[:3].equal(subsets)


def test_models_trained_together_are_those_trained_alone(images, subsets):
    trainings = [Training(row.nonzero()[:, 0], seed=m) for m, row in enumerate(subsets)]
    recipe = recipe_for(len(images) // 2, seed=0, epochs=EPOCHS, network=NETWORK)
    start = from_scratch(recipe)
    together = train_together(images, trainings, recipe, start)
    for training, found in zip(trainings, together, strict=True):
        (alone,) = train_together(images, [training], recipe, start)
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


def test_training_is_that_of_a_plain_loop(images, subsets):
    """One model, trained step by step with the plain network and optimiser."""
    training = Training(subsets[0].nonzero()[:, 0], seed=3)
    recipe = recipe_for(len(images) // 2, seed=0, epochs=EPOCHS, network=NETWORK)
    start = from_scratch(recipe)
    network = start.network(training.seed)
    train_plainly(network, images, training.members, recipe, training.seed)
    (found,) = train_together(images, [training], recipe, start)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


def test_a_model_without_images_is_one_whose_batches_never_held_them(images, subsets):
    """By the plain network's steps, each batch shortened by what is left out."""
    members, without = subsets[0].nonzero()[:, 0], (int(subsets[0].nonzero()[3]),)
    recipe = recipe_for(len(images) // 2, seed=0, epochs=EPOCHS, network=NETWORK)
    start = from_scratch(recipe)
    network = start.network(3)
    train_plainly(network, images, members, recipe, 3, without=without)
    whole, found = train_together(
        images, [Training(members, 3), Training(members, 3, without)], recipe, start
    )
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
    assert max((found[name] - whole[name]).abs().max() for name in whole) > 1e-3


def test_a_killed_run_goes_on_where_it_stopped(images, subsets, tmp_path, monkeypatch):
    procedure = whole(recipe_for(len(images) // 2, seed=0, epochs=EPOCHS, network=NETWORK))
    queries, jobs = images[:3], [(0, 0), (0, 1), (1, 2)]
    trained = []
    train = retraining.train_together

    def counting(images, trainings, recipe, start):
        trained.extend(trainings)
        return train(images, trainings, recipe, start)

    monkeypatch.setattr(retraining, "train_together", counting)
    first = retraining.retrain(images, subsets, queries, procedure, jobs[:2], tmp_path)
    assert len(trained) == 2
    found = retraining.retrain(images, subsets, queries, procedure, jobs, tmp_path)
    assert len(trained) == 3
    assert found[0, :2].equal(first[0, :2])
    assert found.isfinite().all(2).tolist() == [[True, True, False], [False, False, True]]
    retraining.retrain(images, subsets, queries + 0.1, procedure, jobs[:1], tmp_path)
    assert len(trained) == 4  # other queries, other losses


def test_retraining_lowers_the_loss_of_unseen_digits_far_below_the_untrained_one(digits):
    known = truth.read(SHIPPED, "digits")
    procedure = whole(recipe_for(256, seed=0, epochs=EPOCHS, network=NETWORK))
    untrained = looking.losses_of(
        procedure.start.network(0).state_dict(), digits.held_out[:4], procedure
    )
    assert known.losses[:, :, :4].nanmean() < 0.4 * untrained.mean()


def test_the_shipped_truth_is_small_and_whole(digits):
    assert SHIPPED.stat().st_size < 500_000
    known = truth.read(SHIPPED, "digits")
    queries = len(digits.held_out) + len(known.generated) + len(digits.traced)
    assert known.subsets.equal(retraining.random_halves(SUBSETS, len(digits.train)))
    assert known.losses.shape == (2, SUBSETS, queries)
    trained = {(int(s), int(m)) for s, m in known.losses.isfinite().all(2).nonzero()}
    assert trained == set(JOBS)
    assert len(known.generated) == SELECTION + REPORTED


def test_the_shipped_continuations_are_far_above_rounding(digits):
    known = truth.read(SHIPPED, "digits")
    queries = known.losses.shape[-1]
    assert known.continued.tolist() == [*CONTINUED]
    assert known.continued_changes.shape == (len(CONTINUED), queries)
    assert known.continued_rounding.abs().max() < 0.01 * known.continued_changes.abs().median()


def test_an_image_is_missed_most_by_itself(digits):
    """Its own loss rises, and more than those of others do."""
    known = truth.read(SHIPPED, "digits")
    first = known.continued_changes.shape[1] - len(digits.traced)
    traced = {int(image): first + place for place, image in enumerate(digits.traced)}
    rises = [
        changes[traced[image]].item() / changes.abs().median().item()
        for image, changes in zip(known.continued.tolist(), known.continued_changes, strict=True)
        if image in traced
    ]
    assert len(rises) > 10
    assert min(rises) > 1


def test_regenerating_makes_a_truth_that_the_task_takes(tmp_path):
    path = tmp_path / truth.NAME
    quick = Digits(epochs=1, jobs=((0, 0), (0, 1)), left_out=(3, 500), continued=(), truth=path)
    assert quick.regenerate(tmp_path) == tmp_path / truth.NAME
    task = quick.prepare(tmp_path)
    assert [kind.name for kind in task.queries] == ["validation", "generated", "training"]
    for kind in task.queries:
        assert kind.evidence.subset_losses.shape == (1, 2, len(kind.examples))
        assert kind.evidence.left_out.tolist() == [3, 500]
        assert kind.evidence.left_out_losses.shape == (1, 2, len(kind.examples))
        assert kind.held_back in (0, SELECTION)
    assert task.train[task.queries[2].evidence.query_train_index].equal(task.queries[2].examples)
    full, less = task.without([(), (3,)])  # the second one was left out already, and is kept
    for kind in task.queries:
        assert less.losses[kind.name].equal(kind.evidence.left_out_losses[0, 0])
        assert not less.losses[kind.name].equal(full.losses[kind.name])
    assert full.pictures["generated"].shape == task.queries[1].examples.shape


def test_preparing_again_trains_nothing(tmp_path, digits):
    quick = Digits(epochs=1)
    quick.prepare(tmp_path)
    recipe = recipe_for(len(digits.train), seed=0, epochs=1, network=NETWORK)
    assert not train_once(digits.train, recipe, tmp_path / "run")


def test_a_damaged_truth_says_how_to_make_it_anew(tmp_path):
    path = tmp_path / truth.NAME
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="benchmark digits --regenerate"):
        truth.read(path, "digits")


def test_the_task_is_registered():
    from retrac_plugin import plugins

    assert plugins.get_task("digits") is DIGITS
