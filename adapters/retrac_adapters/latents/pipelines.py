"""Queries from a pipeline of diffusers: what it generates, as training would have seen it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import DDIMPipeline, DDPMPipeline, StableDiffusionPipeline
from torch import Tensor

from retrac_plugin.data.encoded import as_key, digest
from retrac_plugin.errors import InputError
from retrac_plugin.randomness import SAMPLE_KEY

Conditions = Callable[[Any, list[str]], dict[str, Tensor]]
"""``(pipeline, prompts) -> the denoiser's arguments [prompt, ...]`` by name."""


def pipeline_query(
    pipeline: Any,
    prompt: str | Sequence[str] | None = None,
    *,
    seed: int = 0,
    conditions: Conditions | None = None,
    **call: Any,
) -> list[dict[str, Any]]:
    """Generate pictures and return them as queries: latents and what the prompts became.

    A latent is taken as it leaves the sampler, without a way through pixels and back. Its prompt is
    told as in training, without what guidance adds. Its last bits depend on the machine; its
    ``sample_key`` does not, which tells its seed, prompt and the call's other plain arguments.

    Args:
        pipeline: A ``StableDiffusionPipeline``; an unconditional ``DDPMPipeline`` or
            ``DDIMPipeline``, whose pictures are queries themselves; or, with ``conditions``, any
            that takes a prompt and ``output_type="latent"`` and has the latents of training.
        prompt: One for each picture; without prompts, one picture is generated.
        seed: Of the first picture's generator; the next one has the next seed.
        conditions: What the denoiser is told of prompts, for other pipelines.
        **call: Further arguments of the pipeline, such as ``num_inference_steps``.

    Returns:
        Examples ``{"sample": [C, h, w], "sample_key": ..., ...}``, on the CPU.

    Raises:
        InputError: If it is another pipeline, and ``conditions`` do not say what it tells.
    """
    if isinstance(pipeline, (DDPMPipeline, DDIMPipeline)):
        return _generate_images(pipeline, prompt, seed, call)
    if conditions is None and not isinstance(pipeline, StableDiffusionPipeline):
        raise InputError(
            "pipeline_query: expected a StableDiffusionPipeline, DDPMPipeline or DDIMPipeline, "
            f"got a {type(pipeline).__name__}: pass conditions=, a function (pipeline, prompts) -> "
            "the denoiser's arguments"
        )
    if prompt is None:
        raise InputError("pipeline_query: the pipeline generates from a prompt, got None")
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    generators = _generators(pipeline, seed, len(prompts))
    output = pipeline(prompts, generator=generators, output_type="latent", **call)
    with torch.no_grad():
        told = (conditions or _told_by_stable_diffusion)(pipeline, prompts)
    fields = {"sample": output.images, **told}
    return [
        {name: value[i].cpu() for name, value in fields.items()} | _keyed(seed + i, told_of, call)
        for i, told_of in enumerate(prompts)
    ]


def _told_by_stable_diffusion(pipeline: Any, prompts: list[str]) -> dict[str, Tensor]:
    embedded, _ = pipeline.encode_prompt(
        prompts, pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return {"encoder_hidden_states": embedded}


def _generate_images(
    pipeline: Any, prompt: Any, seed: int, call: dict[str, Any]
) -> list[dict[str, Any]]:
    if prompt is not None:
        raise InputError(f"pipeline_query: a {type(pipeline).__name__} takes no prompt")
    (generator,) = _generators(pipeline, seed, 1)
    images = pipeline(generator=generator, output_type="np", **call).images
    return [
        {"sample": torch.from_numpy(image).permute(2, 0, 1) * 2 - 1} | _keyed(seed, str(i), call)
        for i, image in enumerate(images)
    ]


def _keyed(seed: int, which: str, call: Mapping[str, Any]) -> dict[str, int]:
    """Return what a picture was generated from as a field of its example."""
    plain = {n: v for n, v in sorted(call.items()) if isinstance(v, (int, float, str))}
    return {SAMPLE_KEY: as_key(digest("pipeline_query", str(seed), which, json.dumps(plain)))}


def _generators(pipeline: Any, seed: int, count: int) -> list[torch.Generator]:
    return [torch.Generator(pipeline.device).manual_seed(seed + i) for i in range(count)]
