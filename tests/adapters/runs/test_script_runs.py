"""Runs as the official scripts leave them, read back and compared with what training logged."""

import os
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DModel

import retrac_plugin as retrac
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.data.collating import collate
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_MODELLED, NOT_RECORDED
from tests.adapters.runs import training
from tests.adapters.zoo import make_examples


def examples_for(name, count=8, **more):
    return [
        {
            field: value.float() if value.is_floating_point() else value
            for field, value in {**example, **more}.items()
        }
        for example in make_examples(name, count)
    ]


def subjects(run, kind):
    return {finding.subject for finding in run.findings if finding.kind == kind}


def text_of(run, subject):
    return " ".join(finding.text for finding in run.findings if finding.subject == subject)


def replayed_loss(run, examples, k):
    """The mean loss at checkpoint k of the batch that training took in the step after it."""
    checkpoint, trace = run.checkpoints[k], run.trace
    visits = torch.nonzero(trace.steps == checkpoint.step).squeeze(1)
    batch = collate([examples[i] for i in trace.ids[visits]], trace.ids[visits].tolist(), "train")
    samples = batch.pop("sample")
    noise = trace.noise(visits, samples.shape[1:])
    noisy = run.model.diffuse(samples, trace.timesteps[visits], noise, batch)
    at = CheckpointPass(
        run.model,
        checkpoint,
        k,
        lambda losses, values, scales: losses(values, noisy).mean(),
        torch.device("cpu"),
        1,
        lambda done: None,
    )
    return at.engine.item()


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    directory = tmp_path_factory.mktemp("unconditional")
    return training.unconditional(directory, examples_for("unet-plain"), use_ema=True).run(6, 2)


def test_raw_weights_are_the_default_and_ema_a_choice(unconditional):
    for weights, folder in (("raw", "unet"), ("ema", "unet_ema")):
        run = retrac.read_run(unconditional.directory, weights=weights)
        assert [checkpoint.step for checkpoint in run.checkpoints] == [2, 4, 6]
        for checkpoint in run.checkpoints:
            saved = UNet2DModel.from_pretrained(
                unconditional.directory / f"checkpoint-{checkpoint.step}" / folder
            ).state_dict()
            loaded = checkpoint.load()
            assert loaded.keys() == saved.keys()
            assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_queries_may_take_other_weights_than_the_training_set(unconditional):
    run = retrac.read_run(unconditional.directory, query_weights="ema")
    ema = retrac.read_run(unconditional.directory, weights="ema")
    raw = retrac.read_run(unconditional.directory)
    for mixed, averaged, own in zip(run.checkpoints, ema.checkpoints, raw.checkpoints, strict=True):
        assert (mixed.parameters, mixed.query_parameters) == (own.parameters, averaged.parameters)
        assert own.on_query_side() is own
    assert "raw for the training set, ema for queries taken" in text_of(run, "checkpoints")
    same = retrac.read_run(unconditional.directory, query_weights="raw")
    assert same.checkpoints[0].query_parameters is None
    with pytest.raises(InputError, match="query_weights: expected one of raw, ema, got 'both'"):
        retrac.read_run(unconditional.directory, query_weights="both")


def test_step_sizes_follow_the_saved_learning_rates(unconditional):
    run = retrac.read_run(unconditional.directory)
    a, b, c = (unconditional.rates[step - 1] for step in (2, 4, 6))
    assert a > b > c > 0
    expected = [2 * a, 2 * (a + b) / 2, 2 * (b + c) / 2]
    assert [checkpoint.step_size for checkpoint in run.checkpoints] == pytest.approx(expected)
    counted = retrac.read_run(
        unconditional.directory, arguments={"train_batch_size": 4, "num_samples": 8}
    )
    assert [c.step_size for c in counted.checkpoints] == pytest.approx([e / 2 for e in expected])


def test_what_is_not_recorded_is_said(unconditional):
    run = retrac.read_run(unconditional.directory)
    assert subjects(run, NOT_RECORDED) == {"visits", "timesteps and noise"}
    assert subjects(run, NOT_MODELLED) == {"optimiser"}
    assert subjects(run, CONTRADICTION) == set()
    assert {"denoiser", "schedule", "checkpoints", "learning rates"} <= subjects(run, FOUND)
    for subject in ("visits", "timesteps and noise", "optimiser"):
        assert subject in run.description


def test_an_unrecorded_run_is_attributed(unconditional):
    run = retrac.read_run(unconditional.directory)
    attributor = retrac.DiffusionReTrac(
        run.model, run.checkpoints, train_draws=run.train_draws, query_draws=retrac.Strided(2)
    )
    values = attributor.attribute(unconditional.examples, unconditional.examples[:2]).values
    assert values.shape == (2, 8)
    assert values.isfinite().all()


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample"])
def test_an_unconditional_runs_replayed_loss_is_the_logged_one(tmp_path, prediction_type):
    examples = examples_for("unet-plain")
    trained = training.unconditional(tmp_path, examples, prediction_type, record=True).run(6, 2)
    run = retrac.read_run(tmp_path)
    assert replayed_loss(run, examples, 0) == pytest.approx(trained.losses[2], rel=1e-5)
    assert replayed_loss(run, examples, 1) == pytest.approx(trained.losses[4], rel=1e-5)


def test_steps_as_adam_scaled_them_are_a_choice(tmp_path, unconditional):
    run = retrac.read_run(unconditional.directory, optimizer="adam")
    assert "second moments" in text_of(run, "optimiser")
    for checkpoint in run.checkpoints:
        folder = unconditional.directory / f"checkpoint-{checkpoint.step}"
        state = torch.load(folder / "optimizer.bin", weights_only=True)["state"]
        roots = checkpoint.preconditioner()
        assert list(roots) == run.model.attributed_names()
        for position, root in enumerate(roots.values()):
            second = state[position]["exp_avg_sq"] / (1 - 0.999**checkpoint.step)
            torch.testing.assert_close(root**-2, second.sqrt() + 1e-8)
    directory = copy_of(unconditional.directory, tmp_path)
    (directory / "checkpoint-4" / "optimizer.bin").unlink()
    with pytest.raises(InputError, match=r"checkpoint-4/optimizer.bin' does not exist"):
        retrac.read_run(directory, optimizer="adam")


def test_an_adapters_moments_are_its_own(lora):
    base, trained = lora
    run = retrac.read_run(trained.directory, base=base, optimizer="adam")
    roots = run.checkpoints[0].preconditioner()
    assert list(roots) == run.model.attributed_names()
    plain = retrac.read_run(trained.directory, base=base)
    scores = [
        retrac.DiffusionReTrac(r.model, r.checkpoints, query_draws=retrac.Strided(1)).attribute(
            trained.examples, trained.examples[:1]
        )
        for r in (run, plain)
    ]
    assert all(s.values.isfinite().all() for s in scores)
    assert not torch.allclose(scores[0].values, scores[1].values, rtol=0.01)


@pytest.fixture(scope="module")
def text_to_image(tmp_path_factory):
    directory, base = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("base")
    examples = examples_for("unet-text")
    return training.text_to_image(
        directory, base, examples, "v_prediction", snr_gamma=5.0, record=True
    ).run(6, 2)


def test_a_text_to_image_runs_replayed_loss_is_the_logged_one(text_to_image):
    run = retrac.read_run(text_to_image.directory)
    for k, step in enumerate((2, 4)):
        replayed = replayed_loss(run, text_to_image.examples, k)
        assert replayed == pytest.approx(text_to_image.losses[step], rel=1e-5)


def test_arguments_overrule_the_saved_scheduler(text_to_image):
    run = retrac.read_run(text_to_image.directory)
    assert run.model.schedule.prediction_type == "v_prediction"
    assert "prediction type" in subjects(run, CONTRADICTION)
    assert "the saved scheduler says epsilon" in text_of(run, "prediction type")
    assert subjects(run, NOT_MODELLED) == {"optimiser", "random_flip"}
    assert "clipped to norm 1.0" in text_of(run, "optimiser")


def test_stated_arguments_overrule_recorded_ones(text_to_image):
    run = retrac.read_run(
        text_to_image.directory, arguments={"prediction_type": "epsilon", "noise_offset": 0.1}
    )
    assert run.model.schedule.prediction_type == "epsilon"
    assert run.model.noise_offset == 0.1
    assert "argument prediction_type" in subjects(run, CONTRADICTION)


def test_a_run_without_a_scheduler_asks_for_the_base(text_to_image):
    directory = text_to_image.directory
    with pytest.raises(InputError, match=r"no scheduler/scheduler_config.json .* pass base="):
        retrac.read_run(directory, arguments={"pretrained_model_name_or_path": "some/model"})
    with pytest.raises(InputError, match="neither a folder nor a model in the Hugging Face cache"):
        retrac.read_run(directory, base="some/model")


LORA_RUNS = {
    "text-to-image": {"save": training.save_lora},
    "dreambooth": {"save": training.save_lora_in_older_naming, "prior_loss_weight": 0.5},
}


@pytest.fixture(scope="module", params=LORA_RUNS)
def lora(request, tmp_path_factory):
    directory, base = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("base")
    more = LORA_RUNS[request.param]
    examples = examples_for("unet-text")
    if "prior_loss_weight" in more:
        weights = [1.0] * 4 + [more["prior_loss_weight"]] * 4
        for example, weight in zip(examples, weights, strict=True):
            example["loss_weight"] = torch.tensor(weight)
    return base, training.lora(directory, base, examples, record=True, **more).run(6, 2)


def test_a_lora_runs_replayed_loss_is_the_logged_one(lora):
    base, trained = lora
    run = retrac.read_run(trained.directory, base=base)
    for k, step in enumerate((2, 4)):
        replayed = replayed_loss(run, trained.examples, k)
        assert replayed == pytest.approx(trained.losses[step], rel=1e-5)


def test_a_lora_runs_adapter_alone_is_attributed(lora):
    base, trained = lora
    run = retrac.read_run(trained.directory, base=base)
    assert {"arguments", "adapter"} <= subjects(run, NOT_RECORDED)
    names = run.model.attributed_names()
    assert sorted(names) == sorted(
        n for n, p in trained.network.named_parameters() if p.requires_grad
    )
    last = dict(trained.network.named_parameters())
    loaded = run.checkpoints[-1].load()
    assert sorted(loaded) == sorted(names)
    assert all(torch.equal(loaded[name], last[name]) for name in names)
    known = retrac.read_run(trained.directory, base=base, arguments={"rank": 2})
    assert "adapter" in subjects(known, FOUND)


def test_a_lora_run_without_its_base_asks_for_it(lora):
    _, trained = lora
    with pytest.raises(InputError, match="pass base="):
        retrac.read_run(trained.directory)
    with pytest.raises(InputError, match="the run kept no moving average"):
        retrac.read_run(trained.directory, weights="ema")


def test_a_stated_alpha_scales_the_adapter(tmp_path):
    examples = examples_for("unet-text")
    base, directory = tmp_path / "base", tmp_path / "run"
    trained = training.lora(directory, base, examples, alpha=6, record=True).run(6, 2)
    run = retrac.read_run(directory, base=base, arguments={"lora_alpha": 6})
    assert replayed_loss(run, examples, 0) == pytest.approx(trained.losses[2], rel=1e-5)
    wrong = retrac.read_run(directory, base=base)
    assert replayed_loss(wrong, examples, 0) != pytest.approx(trained.losses[2], rel=1e-5)


def test_an_adapter_of_a_transformer_with_its_alpha_in_the_file(tmp_path):
    base, directory = tmp_path / "base", tmp_path / "run"
    network = training.write_sd3_adapter(directory, base, alpha=6)
    run = retrac.read_run(directory, base=base, arguments={"weighting_scheme": "none"})
    assert "rank 2, alpha 6" in text_of(run, "adapter")
    batch = collate(examples_for("sd3", 2), [0, 1], "train")
    samples = batch.pop("sample")
    noisy = run.model.diffuse(samples, torch.tensor([20, 800]), -samples, batch)
    sigmas = run.model.schedule.sigmas[[20, 800]]
    expected = network(noisy.noisy, timestep=sigmas * 1000, **batch).sample
    loaded = load_into(run.model.network, run.checkpoints[0], torch.device("cpu"))
    losses = run.model.losses({}, loaded, noisy)
    torch.testing.assert_close(losses, (expected + 2 * samples).square().mean((1, 2, 3)))


def test_a_run_that_was_resumed_in_the_middle(tmp_path):
    examples = examples_for("unet-plain")
    first = training.unconditional(tmp_path, examples, record=True).run(4, 2)
    network = UNet2DModel.from_pretrained(tmp_path / "checkpoint-4" / "unet")
    resumed = replace(first, network=network, losses=[], rates=[]).run(8, 2, resume_from=4)
    run = retrac.read_run(tmp_path)
    assert [checkpoint.step for checkpoint in run.checkpoints] == [2, 4, 6, 8]
    assert replayed_loss(run, examples, 1) == pytest.approx(resumed.losses[0], rel=1e-5)
    assert replayed_loss(run, examples, 2) == pytest.approx(resumed.losses[2], rel=1e-5)


def test_arguments_that_changed_between_starts_are_said(tmp_path, text_to_image):
    directory = copy_of(text_to_image.directory, tmp_path)
    training.write_arguments(
        directory,
        "text2image-fine-tune",
        time="1800000000.5",
        prediction_type="v_prediction",
        snr_gamma=1.0,
        pretrained_model_name_or_path=str(tmp_path),
        resume_from_checkpoint="latest",
    )
    with pytest.raises(InputError, match="pass base="):
        retrac.read_run(directory)
    base = text_to_image.directory
    run = retrac.read_run(directory, model=retrac.read_run(base).model)
    assert "was 5.0 before the run was resumed and 1.0 after" in text_of(run, "argument snr_gamma")
    assert subjects(run, CONTRADICTION) == {"argument snr_gamma"}


def copy_of(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "copy")


def test_deleted_checkpoints_are_noticed(tmp_path, unconditional):
    directory = copy_of(unconditional.directory, tmp_path)
    shutil.rmtree(directory / "checkpoint-2")
    run = retrac.read_run(directory, arguments={"max_train_steps": 9})
    missing = text_of(run, "checkpoints")
    assert (
        "one every 2 steps was written, but 1 of them are missing, the first of step 2" in missing
    )
    assert "only 2" in missing
    assert "the last 3 steps of training have no checkpoint" in missing
    assert "checkpoints" in subjects(run, CONTRADICTION)


def test_learning_rates_that_disagree_are_said(tmp_path, unconditional):
    directory = copy_of(unconditional.directory, tmp_path)
    path = directory / "checkpoint-4" / "scheduler.bin"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "_last_lr": [0.5]}, path)
    run = retrac.read_run(directory)
    assert "checkpoint-4: scheduler.bin says 0.5" in text_of(run, "learning rate")
    assert "learning rate" in subjects(run, CONTRADICTION)


class Bomb:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["optimizer.bin", "scheduler.bin"])
@pytest.mark.parametrize(
    "save", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2))]
)
def test_a_malicious_training_state_is_refused_and_runs_nothing(
    tmp_path, unconditional, name, save
):
    directory = copy_of(unconditional.directory, tmp_path)
    save({"_last_lr": [Bomb(tmp_path / "owned")]}, directory / "checkpoint-4" / name)
    with pytest.raises(CheckpointError, match="refused to unpickle"):
        retrac.read_run(directory)
    assert not (tmp_path / "owned").exists()


def test_random_states_are_never_opened(tmp_path, unconditional):
    directory = copy_of(unconditional.directory, tmp_path)
    for folder in directory.glob("checkpoint-*"):
        torch.save(Bomb(tmp_path / "owned"), folder / "random_states_0.pkl")
    run = retrac.read_run(directory)
    assert [len(checkpoint.load()) > 0 for checkpoint in run.checkpoints] == [True] * 3
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["optimizer.bin", "scheduler.bin"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint", bytes(range(256))])
def test_a_foreign_training_state_is_refused(tmp_path, unconditional, name, content):
    directory = copy_of(unconditional.directory, tmp_path)
    (directory / "checkpoint-4" / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"(cannot read|refused to unpickle) .*{name}"):
        retrac.read_run(directory)


def test_a_training_state_of_another_kind_is_refused(tmp_path, unconditional):
    directory = copy_of(unconditional.directory, tmp_path)
    torch.save({"lr": 3}, directory / "checkpoint-4" / "scheduler.bin")
    with pytest.raises(CheckpointError, match="holds no learning rate"):
        retrac.read_run(directory)


def test_a_truncated_adapter_is_refused(tmp_path, lora):
    base, trained = lora
    directory = copy_of(trained.directory, tmp_path)
    path = directory / "checkpoint-2" / "pytorch_lora_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot read"):
        retrac.read_run(directory, base=base)


def test_arguments_that_would_run_code_are_refused(tmp_path, text_to_image):
    directory = copy_of(text_to_image.directory, tmp_path)
    path = next(directory.glob("logs/*/*/hparams.yml"))
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'owned'}']")
    with pytest.raises(InputError, match="cannot read the arguments"):
        retrac.read_run(directory)
    assert not (tmp_path / "owned").exists()
