"""The training set and the queries of a run of a latent model, from folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrac_adapters.images.captions import Captioned, images_in, name_in, read_captioned
from retrac_adapters.images.framed import train_folder
from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.latents import Conditions, LatentExamples, Picture, TextEncoder
from retrac_adapters.latents.micro_conditions import POOLED, time_ids_of_latent, with_time_ids
from retrac_adapters.latents.reading_text import read_text
from retrac_adapters.latents.vae import read_vae
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.data.image_files import FileExamples, read_examples
from retrac_plugin.data.packed import holds_many
from retrac_plugin.errors import InputError
from retrac_plugin.model.diffusion import LOSS_WEIGHT

TENSOR_FILES = (".safetensors", ".npz", ".npy")
CONDITION = "encoder_hidden_states"
BILINEAR_CLASS_IMAGES = ("dreambooth-flux-dev-lora", "train_dreambooth_flux")
"""Scripts that resize class images bilinearly, whatever ``--image_interpolation_mode`` says."""


@dataclass(frozen=True)
class LatentReader:
    """Reads what a latent model was trained on, or is asked about.

    Attributes:
        home: The folder with ``vae/`` and, where the model is told captions, ``text_encoder/``.
        framing: How training cropped its images.
        arguments: The training script's.
        text: Encodes captions in the place of the home's own text encoder.
        vae: The autoencoder's folder, where it is not the home's own.
        recorded: Whether training recorded ids, so that the order of images must be known.
    """

    home: Path
    framing: Framing
    arguments: Arguments
    text: TextEncoder | None = None
    vae: Path | None = None
    recorded: bool = False

    def train(self, path: Path | None, cache: Path, device: torch.device) -> FileExamples:
        """See ``ExampleReader.train``."""
        folder = train_folder(self.arguments) if path is None else path
        if folder.suffix in TENSOR_FILES:
            return read_examples(folder)
        prompt = self.arguments.get("instance_prompt")
        if not self.has_text:
            pictures = _pictures(folder, None)
        elif prompt is None:
            pictures = [_captioned(row, folder) for row in self._selected(self._rows(folder))]
        elif self.arguments.get("caption_column") and self.arguments.get("dataset_name"):
            rows = sorted(self._rows(folder), key=lambda row: row.path.name)
            own = [row._replace(caption=row.caption or prompt) for row in rows]
            pictures = [*(_captioned(row, folder) for row in own), *self._class_pictures()]
        else:
            pictures = [*_pictures(folder, prompt), *self._class_pictures()]
        return self._encoded(pictures, cache, device)

    def queries(
        self, path: Path, prompt: str | None, cache: Path, device: torch.device
    ) -> FileExamples:
        """See ``ExampleReader.queries``."""
        if path.suffix in TENSOR_FILES:
            return self._latents(read_examples(path), path, prompt, cache, device)
        if not self.has_text or prompt is not None:
            pictures = _pictures(path, prompt)
        elif holds_many(path):
            rows = read_captioned(path, self.arguments.get("caption_column"))
            pictures = [_captioned(row, path) for row in rows]
        else:
            raise _no_prompt(path)
        return self._encoded(pictures, cache, device)

    @property
    def has_text(self) -> bool:
        """Whether the denoiser is told captions."""
        return self.text is not None or (self.home / "text_encoder").is_dir()

    def _rows(self, folder: Path) -> list[Captioned]:
        caption, image = map(self.arguments.get, ("caption_column", "image_column"))
        return read_captioned(folder, caption, image, self.recorded)

    def _selected(self, rows: list[Captioned]) -> list[Captioned]:
        """Return what ``--max_train_samples`` left: the first of a permutation by ``--seed``."""
        count, seed = self.arguments.get("max_train_samples"), self.arguments.get("seed")
        if count is None:
            return rows
        if seed is None:
            raise InputError(
                "max_train_samples chose images at random, without a seed: which ones was not "
                "recorded. Pass a folder of those, and arguments={'max_train_samples': None}"
            )
        order = np.random.default_rng(int(seed)).permutation(len(rows))
        return [rows[i] for i in order[: int(count)]]

    def _class_pictures(self) -> list[Picture]:
        """Return DreamBooth's class images, each with the weight of its loss."""
        folder, prompt = (self.arguments.get(name) for name in ("class_data_dir", "class_prompt"))
        if not self.arguments.get("with_prior_preservation"):
            return []
        if folder is None or prompt is None or not Path(folder).is_dir():
            raise InputError(
                f"with_prior_preservation: the class images are in {folder!r}, which is no folder "
                "here: pass arguments={'class_data_dir': ..., 'class_prompt': ...}"
            )
        weight = torch.tensor(float(self.arguments.get("prior_loss_weight", 1.0)))
        bilinear = self.arguments.script in BILINEAR_CLASS_IMAGES
        framing = replace(self.framing, interpolation="bilinear") if bilinear else None
        return [
            replace(picture, fields={LOSS_WEIGHT: weight}, framing=framing)
            for picture in _pictures(Path(folder), prompt)
        ]

    def _encoded(
        self, pictures: Sequence[Picture], cache: Path, device: torch.device
    ) -> LatentExamples:
        images = read_vae(self.vae or self.home / "vae")
        images.vae.to(device)
        if any(picture.fields for picture in pictures):
            ones = {LOSS_WEIGHT: torch.tensor(1.0)}
            pictures = [replace(p, fields=p.fields or ones) for p in pictures]
        text = self._text(device) if self.has_text else None
        return LatentExamples(pictures, self.framing, images, text, cache)

    def _text(self, device: torch.device) -> TextEncoder:
        if self.text is not None:
            return self.text.to(device)
        return read_text(self.home, self.arguments).to(device)

    def _latents(
        self,
        examples: FileExamples,
        path: Path,
        prompt: str | None,
        cache: Path,
        device: torch.device,
    ) -> FileExamples:
        """Return latents from a file, told the prompt where they have no condition of their own."""
        if not self.has_text or CONDITION in examples[0]:
            return examples
        if prompt is None:
            raise _no_prompt(path)
        told = Conditions([prompt], self._text(device), cache).of(prompt)
        if POOLED in told:
            told = with_time_ids(told, time_ids_of_latent(self.framing))
        return _Told(examples, told)


class _Told(FileExamples):
    """Examples with the same further fields each."""

    def __init__(self, examples: FileExamples, fields: dict[str, Any]) -> None:
        self.examples, self.fields, self.names = examples, fields, examples.names

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.examples[index], **self.fields}


def _pictures(path: Path, caption: str | None) -> list[Picture]:
    if path.is_file() and not holds_many(path):
        return [Picture(path, path.name, caption)]
    return [Picture(p, name_in(p, path), caption) for p in images_in(path)]


def _captioned(row: Captioned, folder: Path) -> Picture:
    return Picture(row.path, name_in(row.path, folder), row.caption)


def _no_prompt(path: Path) -> InputError:
    return InputError(
        f"what was {str(path)!r} generated from? The denoiser was trained with captions: pass a "
        "prompt, or a folder with a metadata.jsonl of captions"
    )
