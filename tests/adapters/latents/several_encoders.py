"""Tiny models with several text encoders, laid out as their pipelines lay them out."""

from __future__ import annotations

import torch
from diffusers import (
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.adapters.latents.latent_base import make_tokenizer, make_vae, vocabulary
from tests.adapters.zoo import NETWORKS

LENGTH = 77
PROJECTED = 5


def clip(kind, width, projected=PROJECTED):
    config = CLIPTextConfig(
        vocab_size=len(vocabulary()),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=LENGTH,
        projection_dim=projected,
        bos_token_id=vocabulary()["<|startoftext|>"],
        eos_token_id=vocabulary()["<|endoftext|>"],
    )
    return kind(config)


def clip_tokenizer():
    return make_tokenizer(LENGTH)


def t5(width):
    config = T5Config(
        vocab_size=64, d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=1, dropout_rate=0.0
    )
    return T5EncoderModel(config)


def t5_tokenizer():
    letters = [("\u2581", -1.0), *((c, -2.0) for c in "abcdefghijklmnopqrstuvwxyz")]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    return T5TokenizerFast(vocab=vocab, extra_ids=0)


def parts(name):
    """Return a tiny pipeline of a family."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        clips = {"tokenizer": clip_tokenizer(), "tokenizer_2": clip_tokenizer()}
        if name == "sdxl":
            return StableDiffusionXLPipeline(
                vae=make_vae(),
                text_encoder=clip(CLIPTextModel, 2),
                text_encoder_2=clip(CLIPTextModelWithProjection, 4),
                unet=NETWORKS["unet-sdxl"](),
                scheduler=DDPMScheduler(),
                add_watermarker=False,
                **clips,
            )
        flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
        if name == "sd3":
            return StableDiffusion3Pipeline(
                transformer=NETWORKS["sd3"](),
                scheduler=flow,
                vae=make_vae(),
                text_encoder=clip(CLIPTextModelWithProjection, 2, 2),
                text_encoder_2=clip(CLIPTextModelWithProjection, 3, 3),
                text_encoder_3=t5(6),
                tokenizer_3=t5_tokenizer(),
                **clips,
            )
        return FluxPipeline(
            scheduler=flow,
            vae=make_vae(),
            text_encoder=clip(CLIPTextModel, PROJECTED),
            tokenizer=clip_tokenizer(),
            text_encoder_2=t5(6),
            tokenizer_2=t5_tokenizer(),
            transformer=NETWORKS["flux"](),
        )


def told_by_pipeline(name, pipeline, captions, length):
    """Return what the pipeline itself makes of captions."""
    if name == "sdxl":
        hidden, _, pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": hidden, "text_embeds": pooled}
    if name == "sd3":
        hidden, _, pooled, _ = pipeline.encode_prompt(
            captions, None, None, do_classifier_free_guidance=False, max_sequence_length=length
        )
    else:
        hidden, pooled, _ = pipeline.encode_prompt(captions, None, max_sequence_length=length)
    return {"encoder_hidden_states": hidden, "pooled_projections": pooled}
