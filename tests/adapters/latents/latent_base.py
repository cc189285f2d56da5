"""A tiny latent model as Stable Diffusion lays it out, and a folder of captioned images."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

if int(transformers.__version__.partition(".")[0]) < 5:
    pytest.skip("transformers 4 has no text encoder in float64", allow_module_level=True)

CAPTIONS = ["a red dog", "a cat", "a red dog", "blue bird", "green tree", "a cat and a dog"]
LENGTH = 9


def write_base(folder, dtype=torch.float64):
    """Write a base model and return its parts: VAE, text encoder, tokenizer, U-Net."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        vae, text, unet = make_vae(), make_text_encoder(), make_unet()
        torch.nn.init.normal_(vae.encoder.conv_out.bias, std=0.5)  # so that variances differ
    tokenizer = make_tokenizer()
    for name, part in (("vae", vae), ("text_encoder", text), ("unet", unet)):
        part.to(dtype).eval().save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    PNDMScheduler(skip_prk_steps=True, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    return vae, text, tokenizer, unet


def make_vae():
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=2,
        sample_size=16,
        scaling_factor=0.7,
        shift_factor=0.1,
    )


def make_text_encoder():
    config = CLIPTextConfig(
        vocab_size=len(vocabulary()),
        hidden_size=6,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=vocabulary()["<|startoftext|>"],
        eos_token_id=vocabulary()["<|endoftext|>"],
    )
    return CLIPTextModel(config)


def make_tokenizer(length=LENGTH):
    """Return a tokenizer of letters, from files, as every transformers reads them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary()))
        Path(folder, "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=length)


def vocabulary():
    letters = [c + end for end in ("", "</w>") for c in string.ascii_lowercase]
    return {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}


def make_unet():
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        attention_head_dim=4,
        cross_attention_dim=6,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


def write_images(folder, captions=CAPTIONS, sizes=((20, 16), (16, 23), (16, 16)), name="{}.png"):
    """Write images of several sizes; their order by name is not that of the captions."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    rows = []
    for i, caption in enumerate(captions):
        width, height = sizes[i % len(sizes)]
        coarse = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        file = name.format((i * 5) % 7)
        Image.fromarray(coarse).resize((width, height), Image.BICUBIC).save(folder / file)
        rows.append({"file_name": file, "text": caption})
    lines = [json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return [folder / row["file_name"] for row in rows]
