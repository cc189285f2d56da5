"""Tiny denoisers of every family, with examples that have the conditions each of them needs."""

from __future__ import annotations

import copy

import torch
from diffusers import (
    DiTTransformer2DModel,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
)

PLAIN = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (4, 8),
    "norm_num_groups": 2,
    "attention_head_dim": 4,
}
ATTENDING = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 6,
}
CONVOLVING = {
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}
TRANSFORMER = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8, "sample_size": 8}


def text(width=6, length=3):
    return {"encoder_hidden_states": torch.randn(length, width, dtype=torch.float64)}


def label():
    return {"class_labels": torch.randint(5, ())}


def pooled(width):
    return torch.randn(width, dtype=torch.float64)


NETWORKS = {
    "unet": lambda: UNet2DModel(
        **PLAIN,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ),
    "unet-plain": lambda: UNet2DModel(**PLAIN, **CONVOLVING),
    "unet-classes": lambda: UNet2DModel(**PLAIN, **CONVOLVING, num_class_embeds=5),
    "unet-text": lambda: UNet2DConditionModel(**PLAIN, **ATTENDING, in_channels=3, out_channels=3),
    "unet-text-classes": lambda: UNet2DConditionModel(
        **PLAIN, **ATTENDING, in_channels=3, out_channels=3, num_class_embeds=5
    ),
    "unet-sdxl": lambda: UNet2DConditionModel(
        **PLAIN,
        **ATTENDING,
        in_channels=3,
        out_channels=3,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=5 + 6 * 4,
    ),
    "unet-learned-variance": lambda: UNet2DConditionModel(
        **PLAIN, **ATTENDING, in_channels=3, out_channels=6
    ),
    "dit": lambda: DiTTransformer2DModel(
        **TRANSFORMER, in_channels=3, out_channels=6, num_embeds_ada_norm=5, norm_num_groups=1
    ),
    "pixart": lambda: PixArtTransformer2DModel(
        **{**TRANSFORMER, "num_attention_heads": 3},
        in_channels=3,
        out_channels=6,
        cross_attention_dim=24,
        caption_channels=6,
        use_additional_conditions=True,
    ),
    "sd3": lambda: SD3Transformer2DModel(
        **TRANSFORMER,
        in_channels=3,
        out_channels=3,
        joint_attention_dim=6,
        caption_projection_dim=16,
        pooled_projection_dim=5,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    ),
    "flux": lambda: FluxTransformer2DModel(
        in_channels=12,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=6,
        pooled_projection_dim=5,
        guidance_embeds=True,
        axes_dims_rope=(2, 2, 4),
    ),
}
CONDITIONS = {
    "unet": dict,
    "unet-plain": dict,
    "unet-classes": label,
    "unet-text": text,
    "unet-text-classes": lambda: {**text(), **label()},
    "unet-sdxl": lambda: {
        **text(),
        "added_cond_kwargs": {
            "text_embeds": pooled(5),
            "time_ids": torch.randint(99, (6,)).double(),
        },
    },
    "unet-learned-variance": text,
    "dit": label,
    "pixart": lambda: {
        **text(),
        "encoder_attention_mask": torch.tensor([1, 1, 0]),
        "added_cond_kwargs": {
            "resolution": torch.tensor([64.0, 48.0], dtype=torch.float64),
            "aspect_ratio": pooled(1),
        },
    },
    "sd3": lambda: {**text(), "pooled_projections": pooled(5)},
    "flux": lambda: {**text(), "pooled_projections": pooled(5)},
}


def make_network(name, seed=0):
    """Build a network in float64; every parameter is random, also those that begin as zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name]().double().eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def make_examples(name, count, seed=1):
    """Return examples with random conditions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [
            {"sample": torch.randn(3, 8, 8, dtype=torch.float64), **CONDITIONS[name]()}
            for _ in range(count)
        ]


def perturbed(network, seed=2):
    """Return a state dict whose trainable parameters are not the network's own."""
    generator = torch.Generator().manual_seed(seed)
    state = copy.deepcopy(network.state_dict())
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            state[name] = state[name] + 0.1 * noise
    return state
