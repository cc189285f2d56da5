"""The CIFAR-MNIST task, on a file of its layout."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import DDPMScheduler

from retrac_adapters.demo.starting import from_scratch
from retrac_adapters.demo.training import train_once
from retrac_adapters.images.image_arrays import VARIABLE
from retrac_adapters.tasks.cifar_mnist import data
from retrac_adapters.tasks.cifar_mnist.task import REDUCED, REDUCED_L1, WHOLE, _generated
from retrac_plugin import Recorder, plugins
from retrac_plugin.benchmarks.rows import measure
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.cli import main
from retrac_plugin.errors import InputError
from retrac_plugin.model.losses import absolute_error, squared_error
from retrac_plugin.plugins import metrics

QUICK = replace(REDUCED, airplanes=45, zeros=5, side=8, channels=(8, 8), epochs=5, queries=2)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Fifty dark noisy pictures and six bright ones, the layout of the real file."""
    path = tmp_path_factory.mktemp("data") / data.NAME
    generator = np.random.default_rng(0)
    is_mnist = np.arange(56) >= 50
    images = generator.integers(0, 100, (56, 32, 32, 3), dtype=np.uint8)
    images[is_mnist] += 150
    np.savez(path, images=images, is_mnist=is_mnist)
    return path


def test_images_are_areas_averaged_in_the_unit_range(path):
    images, is_zero = data.load(path, 4, 2, 16)
    with np.load(path) as file:
        first = file["images"][0, :2, :2, 0].astype(float) / 127.5 - 1
    assert images.shape == (6, 3, 16, 16)
    assert images[0, 0, 0, 0].item() == pytest.approx(first.mean(), abs=1e-6)
    assert is_zero.tolist() == [False] * 4 + [True] * 2


def test_both_sizes_keep_the_papers_share_of_zeros():
    for size in (REDUCED, WHOLE):
        assert size.zeros / (size.zeros + size.airplanes) == pytest.approx(0.0385, abs=1e-4)
        assert (size.zeros + size.airplanes) % size.recipe().batch_size == 0


def test_a_quick_run_is_measured(path, tmp_path):
    task = replace(QUICK, data=path).prepare(tmp_path)
    outcomes = score_methods(task, ["diffusion-retrac", "gas"], lambda text: None)
    names = ("minority-share@10", "tracing-hit@1", "class-agreement@10", "norm-bias")
    rows = measure(task, outcomes, [metrics()[name][0] for name in names])
    values = {(r.method, r.queries, r.metric): r.value for r in rows}
    for method in ("diffusion-retrac", "gas"):
        assert 0 <= values[method, "airplanes", "minority-share@10"] <= 1
        assert values[method, "zeros", "minority-share@10"] is None  # no majority query
        assert values[method, "airplanes", "norm-bias"] is not None
    for kind in task.queries[:2]:
        assert task.train[kind.evidence.query_train_index].equal(kind.examples)
        assert (kind.evidence.query_labels == int(kind.name == "zeros")).all()


def test_a_model_of_the_absolute_error_is_trained_and_attributed_by_it(path, tmp_path):
    """One step over all images, as a plain loop takes it."""
    quick = replace(QUICK, data=path, loss="l1")
    images, _ = data.load(path, quick.airplanes, quick.zeros, quick.side)
    recipe = replace(quick.recipe(), steps=1, checkpoint_steps=(1,), batch_size=len(images))
    start = from_scratch(recipe, "l1")
    train_once(images, recipe, tmp_path, start)
    run = start.read(tmp_path)
    generator = torch.Generator().manual_seed(recipe.seed)
    ids = torch.randperm(len(images), generator=generator)
    timesteps = torch.randint(1000, ids.shape, generator=generator)
    rate = recipe.learning_rate_at(0)
    noise = Recorder(len(images), seed=recipe.seed).draw(ids, timesteps, images[ids], rate)
    noised = DDPMScheduler(**recipe.scheduler).add_noise(images[ids], noise, timesteps)
    network = start.network(recipe.seed)
    (network(noised, timesteps).sample - noise).abs().mean().backward()
    torch.optim.Adam(network.parameters(), lr=rate).step()
    saved = run.checkpoints[0].load()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(saved[name], value, rtol=1e-3, atol=1e-5)
    assert run.model.element_loss is absolute_error


def test_a_run_of_another_loss_is_not_taken_for_it(path, tmp_path):
    squared = replace(QUICK, data=path, epochs=1).prepare(tmp_path)
    first = squared.checkpoints[-1].load()
    absolute = replace(QUICK, data=path, epochs=1, loss="l1").prepare(tmp_path)
    second = absolute.checkpoints[-1].load()
    assert max((first[name] - second[name]).abs().max() for name in first) > 1e-6
    assert absolute.model.element_loss is absolute_error
    assert squared.model.element_loss is squared_error
    assert plugins.get_task("cifar-mnist-l1") is REDUCED_L1


def test_a_generated_picture_is_taken_for_what_it_is_like():
    images = torch.cat([torch.full((4, 3, 2, 2), -0.5), torch.full((2, 3, 2, 2), 0.7)])
    is_zero = torch.arange(6) >= 4
    pictures = torch.stack([images[0] + 0.2, images[5] - 0.2])
    known = _generated(pictures, images, is_zero)
    assert known.query_is_minority.tolist() == [False, True]
    assert known.query_labels.tolist() == [0, 1]


def test_the_file_is_found_where_the_variable_says(path, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"no cifar_mnist_retrac.npz at .*give --data FILE"):
        data.find(None)
    (tmp_path / "data").mkdir()
    path.rename(tmp_path / "data" / data.NAME)
    try:
        assert data.find(None) == tmp_path / "data" / data.NAME
    finally:
        (tmp_path / "data" / data.NAME).rename(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_a_damaged_file_is_refused(tmp_path, content):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(content)
    with pytest.raises(InputError, match="cannot read images, is_mnist"):
        data.load(broken, 1, 1, 8)


def test_too_few_images_are_refused(path):
    with pytest.raises(InputError, match="holds 50 airplanes and 6 zeros, expected at least 50"):
        data.load(path, 50, 7, 8)


def test_the_command_takes_data_for_tasks_that_need_them(path):
    call = CliRunner().invoke
    wrong = call(main, ["benchmark", "digits", "--data", str(path)])
    assert "takes no --data" in wrong.output
    none = call(main, ["benchmark", "cifar-mnist", "--data", str(path), "--regenerate"])
    assert "has no ground truth of retraining" in none.output
