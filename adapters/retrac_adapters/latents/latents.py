"""Examples of a latent model: an image as its latent, a caption as what the denoiser is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.micro_conditions import POOLED, time_ids_of, with_time_ids
from retrac_adapters.latents.vae import MEAN, STD, ImageEncoder
from retrac_plugin.data.encoded import EncodedRows, as_key, digest
from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.data.packed import Packed
from retrac_plugin.progress import bar
from retrac_plugin.randomness import SAMPLE_KEY, normal

AT_ONCE = 4
"""Images in one pass of the autoencoder, whose activations are large."""


class TextEncoder(Protocol):
    """Whatever makes conditions of captions."""

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides what a caption becomes."""

    def to(self, device: torch.device) -> TextEncoder:
        """Compute there from now on."""

    def encode(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return the denoiser's arguments ``[caption, ...]`` by name."""


@dataclass(frozen=True)
class Picture:
    """One image to be encoded.

    Attributes:
        path: Its file.
        name: What to call it.
        caption: What it is said to show, or None where the denoiser is told nothing.
        fields: Further fields of its example, such as ``loss_weight``.
        framing: How it is cropped, where that is not as the others are.
    """

    path: Path | Packed
    name: str
    caption: str | None = None
    fields: Mapping[str, Any] | None = None
    framing: Framing | None = None


class LatentExamples(FileExamples):
    """Latents and conditions, encoded when first asked for and kept in files.

    A latent is the mean of the autoencoder's posterior, unless ``seed`` says that it is drawn. Its
    last bits depend on the machine and on what is encoded beside it; its ``sample_key`` does not,
    which tells the image's file and framing.

    Args:
        pictures: The images.
        framing: How they are cropped.
        images: Encodes them.
        text: Encodes their captions; not needed where there are none.
        cache: Folder for what was encoded.
        seed: Draws each latent from the posterior, once, as a function of the seed and its key.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        framing: Framing,
        images: ImageEncoder,
        text: TextEncoder | None,
        cache: Path,
        seed: int | None = None,
    ) -> None:
        self.pictures, self.framing, self.images, self.seed = pictures, framing, images, seed
        self.names = [picture.name for picture in pictures]
        inputs = [digest(repr(self._framing(p)), p.path.read_bytes()) for p in pictures]
        self.keys = [as_key(of_image) for of_image in inputs]
        self.latents = EncodedRows(self._encode, images.fingerprint, inputs, cache)
        captions = [picture.caption for picture in pictures if picture.caption is not None]
        self.conditions = None if text is None else Conditions(captions, text, cache)

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture, latent = self.pictures[index], self.latents[index]
        told = {} if self.conditions is None else self.conditions.of(picture.caption)
        if POOLED in told:
            told = with_time_ids(told, time_ids_of(picture.path, self._framing(picture)))
        key = self.keys[index]
        sample = {"sample": self._latent(latent, key), SAMPLE_KEY: key}
        return {**sample, **told, **(picture.fields or {})}

    def prepare(self, progress: bool = True) -> None:
        """Encode what is not on disk yet, with a progress bar."""
        texts = [] if self.conditions is None else [self.conditions.rows]
        todo = [("encoding images", self.latents), *(("encoding captions", rows) for rows in texts)]
        for what, rows in todo:
            shown = None if progress and rows.missing else False
            with bar(rows.missing, what, "row", shown) as encoding:
                rows.fill(encoding.update)

    @property
    def missing(self) -> int:
        """See ``FileExamples.missing``."""
        return self.latents.missing

    @property
    def bytes_each(self) -> int:
        """See ``FileExamples.bytes_each``."""
        of_text = 0
        if self.conditions is not None and len(self.conditions.rows):
            of_text = _bytes(self.conditions.rows[0]) * len(self.conditions.rows)
        return _bytes(self.latents[0]) + of_text // len(self)

    @property
    def prompts(self) -> list[str]:
        """See ``FileExamples.prompts``."""
        captions = [picture.caption for picture in self.pictures]
        return [] if None in captions else [str(caption) for caption in captions]

    def picture(self, index: int) -> Tensor:
        """Return an image as its script framed it, ``[3, height, width]`` in [-1, 1]."""
        return self._framed(self.pictures[index])

    @property
    def remark(self) -> str:
        """How far training's own latents, drawn at every visit, lie from those taken here."""
        if self.seed is not None:
            return f"latents are drawn from the autoencoder's posterior, once, by seed {self.seed}"
        first = [self.latents[i] for i in range(min(len(self), _LOOKED_AT))]
        spread = torch.stack([row[STD] for row in first]).square().mean().sqrt()
        size = torch.stack([row[MEAN] for row in first]).std()
        return (
            "latents that are not replayed are the means of the autoencoder's posteriors, whose "
            f"standard deviation is {float(spread / size):.2g} of the latents' own"
        )

    def _framing(self, picture: Picture) -> Framing:
        return picture.framing or self.framing

    def _framed(self, picture: Picture) -> Tensor:
        return self._framing(picture).read(picture.path)

    def _latent(self, row: Mapping[str, Tensor], key: int) -> Tensor:
        if self.seed is None:
            return row[MEAN]
        noise = normal([(self.seed, key)], row[MEAN].shape)[0]
        return row[MEAN] + row[STD] * noise

    def _encode(self, positions: Sequence[int]) -> dict[str, Tensor]:
        parts = []
        for start in range(0, len(positions), AT_ONCE):
            chosen = [self.pictures[i] for i in positions[start : start + AT_ONCE]]
            pixels = torch.stack([self._framed(picture) for picture in chosen])
            parts.append(self.images.encode(pixels))
        return {name: torch.cat([part[name].cpu() for part in parts]) for name in (MEAN, STD)}


class Conditions:
    """What captions become; equal captions are encoded once."""

    def __init__(self, captions: Sequence[str], text: TextEncoder, cache: Path) -> None:
        self.captions = list(dict.fromkeys(captions))
        self.position = {caption: i for i, caption in enumerate(self.captions)}
        inputs = [digest(caption) for caption in self.captions]
        self.rows = EncodedRows(
            lambda positions: text.encode([self.captions[i] for i in positions]),
            text.fingerprint,
            inputs,
            cache,
        )

    def of(self, caption: str | None) -> dict[str, Any]:
        """Return the conditions of a caption; none where there is no caption."""
        return {} if caption is None else self.rows[self.position[caption]]


def _bytes(row: Mapping[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())


_LOOKED_AT = 32
