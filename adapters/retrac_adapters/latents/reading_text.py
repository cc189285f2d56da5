"""The text encoders of a model, read from its folders: one or several, as its pipeline has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from retrac_adapters.latents.text_encoders import (
    CLIP,
    CLIP_LENGTH,
    KNOWN,
    ClipText,
    Encoder,
    Text,
    sdxl,
)
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.extras import requires

SUFFIXES = ("", "_2", "_3", "_4")
"""What is appended to ``text_encoder`` and ``tokenizer`` for the second encoder, and so on."""

T5_LENGTH = 512
"""To how many tokens captions are filled up for T5 where the arguments do not say it."""


def read_text(base: Path, arguments: Arguments) -> ClipText | Text:
    """Read the text encoders of a model; in the precision of their weights, float32 at least.

    Args:
        base: Holds ``tokenizer/`` and ``text_encoder/``, and ``tokenizer_2/`` and so on.
        arguments: The training script's.

    Raises:
        InputError: If the model has other text encoders than Stable Diffusion 1, 2, XL, 3 or Flux.
        CheckpointError: If one is damaged, or its weights are no safetensors.
    """
    kinds = text_kinds(base)
    if kinds == (CLIP,):
        length = arguments.get("tokenizer_max_length")
        masked = bool(arguments.get("text_encoder_use_attention_mask"))
        return ClipText(*_read(base, "", CLIP), None if length is None else int(length), masked)
    told = KNOWN[kinds]
    lengths: Sequence[int | None] = [None] * len(kinds)
    if told is not sdxl:
        longest = int(arguments.get("max_sequence_length", T5_LENGTH))
        lengths = [CLIP_LENGTH] * (len(kinds) - 1) + [longest]
    parts = [_read(base, suffix, kind) for suffix, kind in zip(SUFFIXES, kinds, strict=False)]
    encoders = [Encoder(*part, length) for part, length in zip(parts, lengths, strict=True)]
    return Text(encoders, told)


def text_kinds(base: Path) -> tuple[str, ...]:
    """Return the classes of a model's text encoders; nothing heavy is read for that.

    Raises:
        InputError: If they are none that are known.
    """
    folders = [base / f"text_encoder{suffix}" for suffix in SUFFIXES]
    kinds = tuple(_kind(folder) for folder in folders if folder.is_dir())
    if kinds != (CLIP,) and kinds not in KNOWN:
        raise InputError(
            f"{str(base)!r} has the text encoders {', '.join(kinds)}: expected those of Stable "
            "Diffusion 1, 2, XL or 3, or Flux. Bring yours as run.reader.text, or encode captions "
            "yourself and pass a .safetensors with sample and the denoiser's conditions"
        )
    return kinds


def _kind(folder: Path) -> str:
    try:
        (kind,) = json.loads((folder / "config.json").read_text())["architectures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"no text encoder in {str(folder)!r}: {error!r}") from error
    return str(kind)


def _read(base: Path, suffix: str, kind: str) -> tuple[Any, Any]:
    """Return a tokenizer and its model."""
    with requires("encoding captions", "latents"):
        import transformers

    tokenizer = transformers.CLIPTokenizer
    if kind not in (CLIP, f"{CLIP}WithProjection"):
        tokenizer = transformers.T5TokenizerFast
    folder = base / f"text_encoder{suffix}"
    weights = _weights_in(folder)
    try:
        model = getattr(transformers, kind).from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            dtype=_dtype_of(weights),
            variant=_variant(weights),
        )
        read = tokenizer.from_pretrained(base / f"tokenizer{suffix}", local_files_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(
            f"cannot read the text encoder in {str(folder)!r}: {error}"
        ) from error
    return read, model.eval().requires_grad_(False)


def _weights_in(folder: Path) -> Path | None:
    """Return a file of weights, of the variant that has the fewest dots in its name."""
    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    return next(iter(files), None)


def _variant(weights: Path | None) -> str | None:
    """Return ``fp16`` of ``model.fp16.safetensors``, and None where a name has no variant."""
    parts = [] if weights is None else weights.name.split(".")
    return parts[1].split("-")[0] if len(parts) > 2 else None


def _dtype_of(weights: Path | None) -> torch.dtype:
    if weights is None:
        return torch.float32
    try:
        with safe_open(weights, framework="pt") as opened:
            own: torch.dtype = opened.get_tensor(next(iter(opened.keys()))).dtype
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(f"cannot read {str(weights)!r}: {error}") from error
    return torch.promote_types(own if own.is_floating_point else torch.float32, torch.float32)
