"""Captions to what a denoiser is told of them. The only module that imports transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from retrac_plugin.data.encoded import configuration, fingerprint
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.extras import requires

with requires("encoding captions", "latents"):
    from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True, eq=False)
class ClipText:
    """Stable Diffusion's: the last hidden states of CLIP's text model, padded to its length.

    Attributes:
        tokenizer: A ``CLIPTokenizer``.
        model: A ``CLIPTextModel``.
    """

    tokenizer: Any
    model: Any
    fingerprint: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vocabulary = json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        length = str(self.tokenizer.model_max_length)
        about = (configuration(self.model.config.to_dict()), vocabulary, length)
        object.__setattr__(self, "fingerprint", fingerprint(self.model, *about))

    def to(self, device: torch.device) -> ClipText:
        """See ``latents.TextEncoder.to``."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return ``encoder_hidden_states [caption, token, width]``."""
        tokens = self.tokenizer(
            list(captions),
            max_length=self.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        hidden = self.model(tokens.input_ids.to(self.model.device), return_dict=False)[0]
        return {"encoder_hidden_states": hidden}


def read_text_encoder(base: Path) -> ClipText:
    """Read the text encoder of a model; in the precision of its weights, float32 at least.

    Args:
        base: Holds ``tokenizer/`` and ``text_encoder/``.

    Raises:
        InputError: If the model has another text encoder than CLIP's, or several.
        CheckpointError: If it is damaged, or its weights are no safetensors.
    """
    _check_kind(base)
    folder = base / "text_encoder"
    try:
        model = CLIPTextModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=_dtype_of(folder)
        )
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(f"cannot read the text encoder in {str(base)!r}: {error}") from error
    return ClipText(tokenizer, model.eval().requires_grad_(False))


def _check_kind(base: Path) -> None:
    try:
        kinds = json.loads((base / "text_encoder" / "config.json").read_text())["architectures"]
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"no text encoder in {str(base)!r}: {error!r}") from error
    several = (base / "text_encoder_2").is_dir()
    if kinds != [CLIPTextModel.__name__] or several:
        raise InputError(
            f"{str(base)!r} has {'several text encoders' if several else kinds}: expected one "
            f"{CLIPTextModel.__name__}. Bring yours as run.reader.text, or encode captions "
            "yourself and pass a .safetensors with sample and the denoiser's conditions"
        )


def _dtype_of(folder: Path) -> torch.dtype:
    file = next(iter(sorted(folder.glob("*.safetensors"))), None)
    if file is None:
        return torch.float32
    with safe_open(file, framework="pt") as opened:
        name = next(iter(opened.keys()))
        own: torch.dtype = opened.get_tensor(name).dtype
    return torch.promote_types(own if own.is_floating_point else torch.float32, torch.float32)
