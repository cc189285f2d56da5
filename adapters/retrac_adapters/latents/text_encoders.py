"""Captions to what a denoiser is told of them, as the training scripts encode them.

This module and ``reading_text`` are the only ones that import transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from retrac_plugin.data.encoded import configuration, digest, fingerprint

HIDDEN = "encoder_hidden_states"

CLIP_LENGTH = 77
"""To how many tokens the SD3 and Flux scripts fill up captions for CLIP."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """One text model with its tokenizer.

    Attributes:
        tokenizer: Of transformers.
        model: Likewise.
        length: To how many tokens captions are filled up; None for the tokenizer's own.
        masked: Whether the model is told which tokens are filled up.
    """

    tokenizer: Any
    model: Any
    length: int | None = None
    masked: bool = False
    fingerprint: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vocabulary = json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        length = str(self.length or self.tokenizer.model_max_length)
        about = (configuration(self.model.config.to_dict()), vocabulary, length)
        masked = ("masked",) * self.masked
        object.__setattr__(self, "fingerprint", fingerprint(self.model, *about, *masked))

    def __call__(self, captions: Sequence[str], hidden_states: bool = False) -> Any:
        """Return the model's output for some captions.

        Args:
            captions: What to encode.
            hidden_states: Whether those of every layer are wanted.
        """
        tokens = self.tokenizer(
            list(captions),
            max_length=self.length or self.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).to(self.model.device)
        mask = {"attention_mask": tokens.attention_mask} if self.masked else {}
        more = {"output_hidden_states": True} if hidden_states else {}
        return self.model(tokens.input_ids, **mask, **more)


Encode = Callable[[Sequence[Encoder], Sequence[str]], dict[str, Tensor]]
"""``(encoders, captions) -> the denoiser's arguments [caption, ...]`` by name."""


@dataclass(frozen=True, eq=False)
class Text:
    """The text encoders of a model, and what its scripts make of their outputs.

    Attributes:
        encoders: In the order of the model's folders.
        told: One of the functions below.
    """

    encoders: Sequence[Encoder]
    told: Encode

    @property
    def fingerprint(self) -> str:
        """See ``latents.TextEncoder.fingerprint``."""
        return digest(self.told.__name__, *(encoder.fingerprint for encoder in self.encoders))

    def to(self, device: torch.device) -> Text:
        """See ``latents.TextEncoder.to``."""
        for encoder in self.encoders:
            encoder.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """See ``latents.TextEncoder.encode``."""
        return self.told(self.encoders, captions)


@dataclass(frozen=True, eq=False)
class ClipText:
    """Stable Diffusion's: the last hidden states of CLIP's text model, padded to its length.

    Attributes:
        tokenizer: A ``CLIPTokenizer``.
        model: A ``CLIPTextModel``.
        length: As of ``Encoder``: ``--tokenizer_max_length``.
        masked: Likewise: ``--text_encoder_use_attention_mask``.
    """

    tokenizer: Any
    model: Any
    length: int | None = None
    masked: bool = False
    encoder: Encoder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        encoder = Encoder(self.tokenizer, self.model, self.length, self.masked)
        object.__setattr__(self, "encoder", encoder)

    @property
    def fingerprint(self) -> str:
        """See ``latents.TextEncoder.fingerprint``."""
        return self.encoder.fingerprint

    def to(self, device: torch.device) -> ClipText:
        """See ``latents.TextEncoder.to``."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return ``encoder_hidden_states [caption, token, width]``."""
        return {HIDDEN: self.encoder(captions)[0]}


def sdxl(encoders: Sequence[Encoder], captions: Sequence[str]) -> dict[str, Tensor]:
    """Stable Diffusion XL: the layer before the last of both CLIPs, pooled by the second."""
    outputs = [encode(captions, hidden_states=True) for encode in encoders]
    hidden = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return {HIDDEN: hidden, "text_embeds": outputs[-1].text_embeds}


def sd3(encoders: Sequence[Encoder], captions: Sequence[str]) -> dict[str, Tensor]:
    """Stable Diffusion 3: both CLIPs, filled up to the width of T5, then T5; pooled by both."""
    *clips, t5 = encoders
    outputs = [encode(captions, hidden_states=True) for encode in clips]
    hidden, long = torch.cat([o.hidden_states[-2] for o in outputs], dim=-1), t5(captions)[0]
    hidden = pad(hidden, (0, long.shape[-1] - hidden.shape[-1]))
    pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
    return {HIDDEN: torch.cat([hidden, long], dim=-2), "pooled_projections": pooled}


def flux(encoders: Sequence[Encoder], captions: Sequence[str]) -> dict[str, Tensor]:
    """Flux: T5, and what CLIP pools."""
    clip, t5 = encoders
    pooled = clip(captions).pooler_output
    return {HIDDEN: t5(captions)[0], "pooled_projections": pooled}


CLIP, PROJECTED, T5 = "CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"

KNOWN: Mapping[tuple[str, ...], Encode] = {
    (CLIP, PROJECTED): sdxl,
    (PROJECTED, PROJECTED, T5): sd3,
    (CLIP, T5): flux,
}
"""What several text encoders tell a denoiser, by their classes."""
