"""Runs of a latent model, from their image folder: what is encoded is what training saw."""

import shutil
import sys

import pytest
import torch
from click.testing import CliRunner
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

import retrac_plugin as retrac
from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.latents import LatentExamples, Picture
from retrac_adapters.latents.text_encoders import ClipText
from retrac_adapters.latents.vae import ImageEncoder
from retrac_plugin.cli import main
from retrac_plugin.data.collating import collate
from retrac_plugin.errors import CheckpointError, InputError, MissingDependencyError
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, NOT_RECORDED
from tests.adapters.latents.latent_base import CAPTIONS, make_vae, write_base, write_images
from tests.adapters.latents.text_to_image import pixel_values
from tests.adapters.runs.training import write_arguments
from tests.run_folders import write_run as write_unconditional
from tests.textbook_scripts import call_unet, ddpm


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent")
    parts = write_base(folder / "base")
    return {"base": folder / "base", "parts": parts, "images": write_images(folder / "images")}


def write_run(directory, files, project="text2image-fine-tune", **arguments):
    """Write what train_text_to_image.py leaves, without training."""
    _, _, _, unet = files["parts"]
    for step in (10, 20, 30):
        unet.save_pretrained(directory / f"checkpoint-{step}" / "unet")
    known = {
        "pretrained_model_name_or_path": str(files["base"]),
        "train_data_dir": str(files["base"].parent / "images"),
        "resolution": 16,
        "image_interpolation_mode": "lanczos",
        "center_crop": True,
    }
    write_arguments(directory, project, **{**known, **arguments})
    return directory


def subjects(run, kind):
    return {finding.subject for finding in run.findings if finding.kind == kind}


def by_the_script(files, path, caption):
    """An example as the script computes it, one image at a time, the posterior's mode taken."""
    vae, text_encoder, tokenizer, _ = files["parts"]
    with torch.no_grad():
        posterior = vae.encode(pixel_values(path, 16)[None].double()).latent_dist
        tokens = tokenizer(
            caption,
            max_length=tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        hidden = text_encoder(tokens.input_ids, return_dict=False)[0]
    latent = (posterior.mode() - vae.config.shift_factor) * vae.config.scaling_factor
    return {"sample": latent[0], "encoder_hidden_states": hidden[0]}


def test_losses_on_cached_latents_are_those_of_the_script(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    network = run.model.network.double()
    network.load_state_dict(files["parts"][3].state_dict())
    run.train_examples(cache=tmp_path / "cache").prepare(progress=False)
    examples = run.train_examples(cache=tmp_path / "cache")
    scheduler = DDPMScheduler.from_pretrained(files["base"] / "scheduler")
    loss_of = ddpm(call_unet(network), scheduler, "epsilon")
    timesteps = torch.tensor([0, 130, 421, 600, 800, 999])
    noise = torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(0))
    batch = collate([examples[i] for i in range(6)], list(range(6)), "train")
    noisy = run.model.diffuse(batch.pop("sample"), timesteps, noise, batch)
    losses = run.model.losses({}, dict(network.named_parameters()), noisy)
    for i, (path, caption) in enumerate(zip(files["images"], CAPTIONS, strict=True)):
        plain = by_the_script(files, path, caption)
        expected = loss_of(plain, timesteps[i], noise[i])
        torch.testing.assert_close(losses[i], expected, rtol=1e-9, atol=0)


def test_a_run_is_attributed_from_its_image_folder(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    assert {"latents"} <= subjects(run, FOUND)
    assert {"autoencoder"} <= subjects(run, NOT_MODELLED)
    assert "center_crop" not in subjects(run, NOT_MODELLED)
    train = run.train_examples(cache=tmp_path / "cache")
    assert train.names == [path.name for path in files["images"]]
    queries = run.query_examples(files["images"][1], "a cat", cache=tmp_path / "cache")
    torch.testing.assert_close(queries[0], train[1], rtol=1e-9, atol=0)
    attributor = retrac.DiffusionReTrac(
        run.model, run.checkpoints, query_draws=retrac.Strided(2), train_draws=retrac.Uniform(1)
    )
    values = attributor.attribute(train, queries).values
    assert values.shape == (1, 6)
    assert values.isfinite().all() and values.abs().max() > 0


def test_a_finished_run_holds_its_own_autoencoder(tmp_path, files):
    directory = write_run(tmp_path / "run", files, pretrained_model_name_or_path="some/model")
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(files["base"] / part, directory / part)
    run = retrac.read_run(directory)
    assert len(run.train_examples(cache=tmp_path / "cache")) == 6


def test_equal_captions_are_encoded_once(tmp_path, files):
    vae, text_encoder, tokenizer, _ = files["parts"]
    asked = []

    class Counting(ClipText):
        def encode(self, captions):
            asked.extend(captions)
            return super().encode(captions)

    pictures = [
        Picture(p, p.name, caption) for p, caption in zip(files["images"], CAPTIONS, strict=True)
    ]
    text = Counting(tokenizer, text_encoder)
    LatentExamples(pictures, Framing(16), ImageEncoder(vae), text, tmp_path).prepare(False)
    assert asked == list(dict.fromkeys(CAPTIONS))


def test_what_was_encoded_is_found_by_another_run_of_the_same_base(tmp_path, files, monkeypatch):
    run = retrac.read_run(write_run(tmp_path / "one", files))
    first = run.train_examples(cache=tmp_path / "cache")
    first.prepare(progress=False)
    monkeypatch.setattr(ImageEncoder, "encode", None)
    monkeypatch.setattr(ClipText, "encode", None)
    other = retrac.read_run(write_run(tmp_path / "two", files, learning_rate=1.0))
    torch.testing.assert_close(other.train_examples(cache=tmp_path / "cache")[5], first[5])
    changed = retrac.read_run(write_run(tmp_path / "three", files, resolution=24))
    assert changed.train_examples(cache=tmp_path / "cache").latents.missing == 6


def test_latents_drawn_from_the_posterior_have_its_moments(tmp_path, files):
    pictures = [Picture(files["images"][0], "0")]
    make = [ImageEncoder(files["parts"][0]), None, tmp_path]
    drawn = torch.stack(
        [LatentExamples(pictures, Framing(16), *make, seed=s)[0]["sample"] for s in range(400)]
    )
    again = LatentExamples(pictures, Framing(16), *make, seed=7)[0]["sample"]
    assert torch.equal(drawn[7], again)
    plain = LatentExamples(pictures, Framing(16), *make)
    row = plain.latents[0]
    errors = (drawn.mean(0) - row["mean"]) / (row["std"] / 20)
    assert errors.abs().max() < 5
    assert ((drawn.std(0) / row["std"]) - 1).abs().max() < 0.25
    assert "standard deviation is" in plain.remark


def test_dreambooths_class_images_are_weighed(tmp_path, files):
    instances, classes = tmp_path / "instances", tmp_path / "classes"
    write_images(instances, ["x"] * 2)
    write_images(classes, ["x"] * 3)
    run = retrac.read_run(
        write_run(
            tmp_path / "run",
            files,
            train_data_dir=None,
            instance_data_dir=str(instances),
            instance_prompt="a sks dog",
            with_prior_preservation=True,
            class_data_dir=str(classes),
            class_prompt="a dog",
            prior_loss_weight=0.5,
        )
    )
    examples = run.train_examples(cache=tmp_path / "cache")
    assert examples.names == ["0.png", "5.png", "0.png", "3.png", "5.png"]
    assert [float(example["loss_weight"]) for example in examples] == [1.0, 1.0, 0.5, 0.5, 0.5]
    own, other = examples[1]["encoder_hidden_states"], examples[2]["encoder_hidden_states"]
    assert torch.equal(own, examples[0]["encoder_hidden_states"])
    assert not torch.equal(own, other)


def test_flux_resizes_class_images_bilinearly_whatever_the_option_says(tmp_path, files):
    instances, classes = tmp_path / "instances", tmp_path / "classes"
    write_images(instances, ["x"] * 2)
    write_images(classes, ["x"] * 2)
    told = {
        "train_data_dir": None,
        "instance_data_dir": str(instances),
        "instance_prompt": "a sks dog",
        "with_prior_preservation": True,
        "class_data_dir": str(classes),
        "class_prompt": "a dog",
    }
    for script, of_classes in (
        ("dreambooth-flux-dev-lora", "bilinear"),
        ("dreambooth-lora-sd-xl", "lanczos"),
    ):
        run = retrac.read_run(write_run(tmp_path / script, files, project=script, **told))
        examples = run.train_examples(cache=tmp_path / "cache")
        own, other = (Framing(16, name) for name in ("lanczos", of_classes))
        paths = [*sorted(instances.glob("*.png")), *sorted(classes.glob("*.png"))]
        for i, (path, framing) in enumerate(zip(paths, [own, own, other, other], strict=True)):
            assert torch.equal(examples.picture(i), framing.read(path))
            latent = ImageEncoder(files["parts"][0]).encode(framing.read(path)[None])["mean"][0]
            assert torch.allclose(examples[i]["sample"].double(), latent.double(), atol=1e-6)


def test_a_selection_is_repeated_by_its_seed(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files, max_train_samples=2, seed=3))
    names = [path.name for path in files["images"]]
    # dataset["train"].shuffle(seed=3).select(range(2)) of six rows, by datasets 5.2
    assert run.train_examples(cache=tmp_path / "c").names == [names[i] for i in SHUFFLED_BY_3[:2]]
    unknown = retrac.read_run(write_run(tmp_path / "other", files, max_train_samples=2))
    with pytest.raises(InputError, match="without a seed: which ones was not recorded"):
        unknown.train_examples(cache=tmp_path / "c")


SHUFFLED_BY_3 = [2, 5, 4, 1, 3, 0]


def test_queries_may_be_latents_that_are_told_a_prompt(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    save_file({"sample": torch.ones(2, 3, 8, 8)}, tmp_path / "latents.safetensors")
    queries = run.query_examples(tmp_path / "latents.safetensors", "a cat", cache=tmp_path / "c")
    assert torch.equal(queries[1]["sample"], torch.ones(3, 8, 8))
    expected = by_the_script(files, files["images"][1], "a cat")["encoder_hidden_states"]
    torch.testing.assert_close(queries[1]["encoder_hidden_states"], expected, rtol=1e-4, atol=1e-4)


def test_a_folder_of_queries_may_bring_its_captions(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    queries = run.query_examples(files["images"][0].parent, cache=tmp_path / "c")
    told = run.query_examples(files["images"][0].parent, "a cat", cache=tmp_path / "c")
    assert sorted(queries.names) == sorted(told.names)
    torch.testing.assert_close(queries[1], told[told.names.index(queries.names[1])])


def test_a_query_without_a_prompt_is_refused(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    for path in (files["images"][0], tmp_path / "latents.safetensors"):
        save_file({"sample": torch.ones(2, 3, 8, 8)}, tmp_path / "latents.safetensors")
        with pytest.raises(InputError, match="pass a prompt, or a folder"):
            run.query_examples(path, cache=tmp_path / "c")


def test_a_training_folder_that_is_not_there_is_asked_for(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files, train_data_dir="/no/where"))
    with pytest.raises(InputError, match="'/no/where', which is no folder here: say where"):
        run.train_examples(cache=tmp_path / "c")


def test_a_resolution_that_is_not_recorded_is_the_models_own(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files, resolution=None))
    assert {"resolution"} <= subjects(run, NOT_RECORDED)
    assert run.reader.framing == Framing(16)


def test_an_encoders_configuration_decides_too(files):
    vae = files["parts"][0]
    first = ImageEncoder(vae).fingerprint
    assert ImageEncoder(vae).fingerprint == first
    for name, value in (("scaling_factor", 0.5), ("act_fn", "relu")):
        other = make_vae().double()
        other.load_state_dict(vae.state_dict())
        other.register_to_config(**{name: value})
        assert ImageEncoder(other).fingerprint != first


def test_a_random_crop_is_said(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files, center_crop=False))
    assert {"center_crop"} <= subjects(run, NOT_MODELLED)


def test_an_autoencoder_without_a_scaling_factor_is_refused():
    vae = make_vae()
    vae.register_to_config(scaling_factor=None)
    with pytest.raises(InputError, match="no scaling_factor"):
        ImageEncoder(vae)


def test_damaged_encoders_are_refused(tmp_path, files):
    run = retrac.read_run(write_run(tmp_path / "run", files))
    for part, file in (
        ("vae", "diffusion_pytorch_model.safetensors"),
        ("text_encoder", "model.safetensors"),
    ):
        base = shutil.copytree(files["base"], tmp_path / part)
        path = base / part / file
        path.write_bytes(path.read_bytes()[:-100])
        broken = retrac.read_run(run.checkpoints[0].parameters.parents[1], base=base)
        with pytest.raises(CheckpointError, match="cannot read"):
            broken.train_examples(cache=tmp_path / "c")


def test_reading_a_run_needs_no_transformers_but_captions_do(tmp_path, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "retrac_adapters.latents.text_encoders", raising=False)
    run = retrac.read_run(write_run(tmp_path / "run", files))
    with pytest.raises(MissingDependencyError, match=r"retrac-plugin\[latents\]"):
        run.train_examples(cache=tmp_path / "c")


def test_the_command_line_takes_an_image_and_a_prompt(tmp_path, files):
    run = write_run(tmp_path / "run", files)
    command = ["attribute", run, "--queries", files["images"][1], "--prompt", "a cat"]
    more = ["--timesteps", 1, "--noise-draws", 1, "-k", 2, "--cache", tmp_path / "cache"]
    command += [*more, "--method", "diffusion-retrac", "--out", tmp_path / "scores"]
    command += ["--repeats", 1]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert "are the means of the autoencoder's posteriors" in result.output
    scores = retrac.Scores.load(tmp_path / "scores" / "diffusion-retrac.safetensors")
    best = files["images"][int(scores.proponents(1).indices)].name
    assert f"{files['images'][1].name}: proponents {best} (" in result.output


def test_a_prompt_for_a_model_without_captions_is_refused(tmp_path):
    run = retrac.read_run(write_unconditional(tmp_path / "run"))
    with pytest.raises(InputError, match="the run brings no text encoder"):
        run.query_examples(tmp_path, "a cat")
    with pytest.raises(InputError, match="does not say where its training set is"):
        run.train_examples()


def test_a_denoiser_that_is_shown_pictures_too_is_refused_by_every_command(tmp_path, files):
    base = shutil.copytree(files["base"], tmp_path / "base")
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    config = {**unet.config, "in_channels": 6}
    UNet2DConditionModel.from_config(config).save_pretrained(tmp_path / "run/checkpoint-10/unet")
    shutil.copytree(base, tmp_path / "run", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "run" / "unet")
    reason = "it is shown 6 channels, where latents have 3"
    (tmp_path / "run" / "images").mkdir()
    for name, more in (("doctor", []), ("estimate", []), ("attribute", ["--queries", base])):
        line = [name, tmp_path / "run", "--train", files["images"][0].parent, *more]
        refused = CliRunner().invoke(main, list(map(str, line)))
        assert refused.exit_code == 1
        assert reason in refused.output


def test_the_autoencoder_that_the_arguments_name_is_used(tmp_path, files):
    make_vae().double().save_pretrained(tmp_path / "other")
    named = {"pretrained_vae_model_name_or_path": str(tmp_path / "other")}
    run = retrac.read_run(write_run(tmp_path / "run", files, **named))
    assert run.reader.vae == tmp_path / "other"
    other = run.train_examples(cache=tmp_path / "c")[0]["sample"]
    own = retrac.read_run(write_run(tmp_path / "own", files)).train_examples(cache=tmp_path / "c")
    assert not torch.allclose(other, own[0]["sample"], rtol=0.1)
    gone = {"pretrained_vae_model_name_or_path": "some/vae"}
    with pytest.raises(InputError, match="encoded its images by 'some/vae', which is neither"):
        retrac.read_run(write_run(tmp_path / "gone", files, **gone))


def test_captions_of_a_dreambooth_dataset_are_its_own(tmp_path, files):
    folder = str(files["images"][0].parent)
    told = {"dataset_name": folder, "caption_column": "text", "instance_prompt": "a sks dog"}
    run = retrac.read_run(write_run(tmp_path / "run", files, train_data_dir=None, **told))
    train = run.train_examples(cache=tmp_path / "c")
    assert train.names == sorted(path.name for path in files["images"])
    captions = {path.name: c for path, c in zip(files["images"], CAPTIONS, strict=True)}
    assert [picture.caption for picture in train.pictures] == [captions[n] for n in train.names]
