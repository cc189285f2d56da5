"""A recorded run that is continued without one image."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("sklearn")

from diffusers import DDPMScheduler

from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.digits import data
from retrac_adapters.tasks.digits.task import Digits
from retrac_adapters.tasks.retrained import looking, truth
from retrac_adapters.tasks.retrained.continuing import Moment, Recording, continue_without
from retrac_adapters.tasks.retrained.procedure import whole
from retrac_adapters.tasks.retrained.recipe import CHANNELS, network, recipe_for
from retrac_plugin.draws import Strided
from retrac_plugin.errors import InputError

LEFT_OUT = (0, 40)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two passes over 128 digits, checkpoints after steps 1, 3, 4, 6 and 8."""
    images = data.load().train[:128]
    procedure = whole(recipe_for(len(images), 0, epochs=2, network=network(8, 1, CHANNELS)))
    procedure = replace(procedure, loss_draws=Strided(4, seed=1))
    folder = tmp_path_factory.mktemp("recorded") / "run"
    train_once(images, procedure.recipe, folder, procedure.start)
    return Recording(images, procedure.start.read(folder), procedure)


def without_by_the_book(recording, image):
    """The last two steps in float64, the batch's losses added up one by one."""
    run, recipe = recording.run, recording.procedure.recipe
    moment = Moment(recording)
    moment.advance(recording.visits_of(0, 6))
    kept = moment.keep()
    network = moment.network.double()
    names = dict(network.named_parameters())
    memory = kept["memory"]["state"]
    first = {n: memory[i]["exp_avg"].double() for i, n in enumerate(names)}
    second = {n: memory[i]["exp_avg_sq"].double() for i, n in enumerate(names)}
    scheduler = DDPMScheduler(**recipe.scheduler)
    for step in (6, 7):
        total = 0
        for visit in (run.trace.steps == step).nonzero()[:, 0]:
            if run.trace.ids[visit] == image:
                continue
            x = recording.images[run.trace.ids[visit]][None].double()
            eps, t = run.trace.noise(visit[None], x.shape[1:]).double(), run.trace.timesteps[visit]
            predicted = network(scheduler.add_noise(x, eps, t[None]), t[None]).sample
            total = total + (predicted - eps).square().mean()
        gradients = torch.autograd.grad(total / recipe.batch_size, list(names.values()))
        with torch.no_grad():
            for (name, p), g in zip(names.items(), gradients, strict=True):
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g**2
                m = first[name] / (1 - 0.9 ** (step + 1))
                v = second[name] / (1 - 0.999 ** (step + 1))
                p -= recipe.learning_rate_at(step) * m / (v.sqrt() + 1e-8)
    return {name: p.detach().float() for name, p in names.items()}


def test_continuing_with_all_images_changes_nothing_at_all(recording):
    moment = Moment(recording)
    moment.advance(recording.visits_of(0, 6))
    moment.check(recording.run.checkpoints[-2])
    moment.advance(recording.visits_of(6, 8))
    moment.check(recording.run.checkpoints[-1])
    for name, value in recording.run.checkpoints[-1].load().items():
        assert moment.network.state_dict()[name].equal(value)


def test_changes_are_those_of_a_plain_loop(recording, tmp_path):
    queries = recording.images[:5]
    found = continue_without(recording, LEFT_OUT, queries, tmp_path)
    whole_run = looking.losses_of(
        recording.run.checkpoints[-1].load(), queries, recording.procedure
    )
    for image, changes in zip(LEFT_OUT, found.changes, strict=True):
        weights = without_by_the_book(recording, image)
        expected = looking.losses_of(weights, queries, recording.procedure) - whole_run
        torch.testing.assert_close(changes, expected, rtol=0.02, atol=2e-6)
    assert found.rounding.abs().max() < 0.1 * found.changes.abs().mean()


def test_nothing_is_computed_twice(recording, tmp_path):
    queries = recording.images[:3]
    first = continue_without(recording, LEFT_OUT, queries, tmp_path)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    assert len(files) == 1 + len(LEFT_OUT)
    again = continue_without(recording, LEFT_OUT, queries, tmp_path)
    assert again.changes.equal(first.changes)
    assert {file: file.stat().st_mtime_ns for file in files} == files
    continue_without(recording, LEFT_OUT[:1], queries + 0.1, tmp_path)  # other losses
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3 + len(LEFT_OUT)


def test_a_run_of_other_images_is_not_taken_for_the_recorded_one(recording, tmp_path):
    other = replace(recording, images=recording.images.flip(0))
    with pytest.raises(InputError, match=r"at step 6 weights differ by up to .*, expected 0"):
        continue_without(other, LEFT_OUT, recording.images[:1], tmp_path)


def test_a_batch_of_nothing_is_refused(recording):
    visit = recording.visits_of(0, 1)[0][:1]
    image = int(recording.trace.ids[visit])
    with pytest.raises(InputError, match=f"saw image {image} alone"):
        Moment(recording).advance([visit], image)


def test_a_run_that_was_not_recorded_is_refused(recording):
    bare = replace(recording, run=replace(recording.run, trace=None))
    with pytest.raises(InputError, match="record it"):
        bare.visits_of(0, 1)


def test_a_task_has_what_continuing_showed(tmp_path):
    path = tmp_path / truth.NAME
    images = (3, 4, 5, 500)
    quick = Digits(epochs=1, jobs=((0, 0),), left_out=(), continued=images, truth=path)
    task = replace(quick, truth=quick.regenerate(tmp_path)).prepare(tmp_path)
    trace = task.train_draws.trace
    late = set(trace.ids[trace.steps >= task.checkpoints[-2].step].tolist())
    for kind in task.queries:
        assert kind.evidence.continued.tolist() == [*images]
        assert kind.evidence.continued_changes.shape == (4, len(kind.examples))
        for image, changes in zip(images, kind.evidence.continued_changes, strict=True):
            assert bool((changes != 0).all()) == (image in late)
            assert bool((changes == 0).all()) == (image not in late)
