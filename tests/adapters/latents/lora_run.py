"""What train_text_to_image_lora.py leaves, without training: adapters of a tiny base model."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from tests.adapters.latents.latent_base import CAPTIONS, write_base, write_images
from tests.adapters.runs.training import write_arguments


def write_lora_run(here, steps=(10,), captions=CAPTIONS, **images):
    """Write ``base``, a whole pipeline, ``images`` with captions, and ``run``; return the last."""
    vae, text_encoder, tokenizer, unet = write_base(here / "parts", torch.float32)
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet}
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    StableDiffusionPipeline(**parts, scheduler=scheduler, **none).save_pretrained(here / "base")
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    generator = torch.Generator().manual_seed(4)
    for step in steps:
        for parameter in unet.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        StableDiffusionPipeline.save_lora_weights(
            here / "run" / f"checkpoint-{step}", unet_lora_layers=get_peft_model_state_dict(unet)
        )
    write_images(here / "images", captions, **images)
    write_arguments(
        here / "run",
        "text2image-fine-tune",
        pretrained_model_name_or_path=str(here / "base"),
        train_data_dir=str(here / "images"),
        resolution=16,
        rank=2,
    )
    return here / "run"
