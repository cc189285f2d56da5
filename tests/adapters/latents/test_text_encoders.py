"""What models with several text encoders are told is what their pipelines tell them."""

import json

import pytest
import torch

from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.micro_conditions import time_ids_of, time_ids_of_latent
from retrac_adapters.latents.reading_text import read_text
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.errors import InputError
from tests.adapters.latents.latent_base import CAPTIONS, write_base, write_images
from tests.adapters.latents.several_encoders import parts, told_by_pipeline

LENGTH = 16


def arguments(**values):
    return Arguments(values, None, ())


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_captions_become_what_the_pipeline_makes_of_them(tmp_path, name):
    pipeline = parts(name)
    pipeline.save_pretrained(tmp_path)
    text = read_text(tmp_path, arguments(max_sequence_length=LENGTH))
    got = text.encode(CAPTIONS)
    expected = told_by_pipeline(name, pipeline, CAPTIONS, LENGTH)
    assert got.keys() == expected.keys()
    for field, value in expected.items():
        torch.testing.assert_close(got[field], value, rtol=1e-5, atol=1e-6)
    other = read_text(tmp_path, arguments(max_sequence_length=LENGTH + 1))
    assert (other.fingerprint == text.fingerprint) == (name == "sdxl")


def test_options_of_the_dreambooth_scripts_decide_how_captions_are_encoded(tmp_path):
    _, model, tokenizer, _ = write_base(tmp_path)
    told = arguments(tokenizer_max_length=7, text_encoder_use_attention_mask=True)
    got = read_text(tmp_path, told).encode(["a cat"])["encoder_hidden_states"]
    tokens = tokenizer(["a cat"], max_length=7, padding="max_length", return_tensors="pt")
    expected = model(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    torch.testing.assert_close(got, expected)
    plain = read_text(tmp_path, arguments()).encode(["a cat"])["encoder_hidden_states"]
    assert plain.shape[1] == tokenizer.model_max_length


def test_weights_of_a_variant_are_found(tmp_path):
    pipeline = parts("sdxl").to(torch.float16)
    pipeline.save_pretrained(tmp_path, variant="fp16")
    text = read_text(tmp_path, arguments())
    assert {encoder.model.dtype for encoder in text.encoders} == {torch.float32}
    half = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(text.encoders[0].model.get_input_embeddings().weight, half.float())


def test_encoders_that_are_not_known_are_refused_by_their_names(tmp_path):
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    with pytest.raises(InputError, match=r"has the text encoders Qwen3ForCausalLM: expected"):
        read_text(tmp_path, arguments())


def test_time_ids_are_the_size_of_an_image_and_the_place_of_its_crop(tmp_path):
    wide, tall, square = write_images(tmp_path / "images")[:3]
    framing = Framing(8)
    assert time_ids_of(wide, framing).tolist() == [16, 20, 0, 1, 8, 8]  # 10 x 8, cropped at 1
    assert time_ids_of(tall, framing).tolist() == [23, 16, 2, 0, 8, 8]  # 8 x 11, at round(1.5)
    assert time_ids_of(square, framing).tolist() == [16, 16, 0, 0, 8, 8]
    assert time_ids_of_latent(framing).tolist() == [8, 8, 0, 0, 8, 8]
