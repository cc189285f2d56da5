"""The autoencoder of a latent model: what training made of an image before it was diffused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import Tensor

from retrac_adapters.scripts.networks import build
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.data.encoded import configuration, fingerprint
from retrac_plugin.errors import CheckpointError, InputError

MEAN, STD = "mean", "std"


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """Images to latents, scaled as training scaled them: ``(z - shift) * scaling``.

    Training draws ``z`` from the posterior at every visit. Its mean and its standard deviation are
    what is returned, both scaled.

    Attributes:
        vae: An autoencoder with a ``latent_dist``, such as ``AutoencoderKL``.

    Raises:
        InputError: If it has no ``scaling_factor``.
    """

    vae: Any
    fingerprint: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(self.vae.config, "scaling_factor", None) is None:
            raise InputError(
                f"{type(self.vae).__name__} has no scaling_factor in its configuration: expected "
                "an autoencoder such as AutoencoderKL. Encode the images as training did, and pass "
                "a .safetensors with sample and the denoiser's conditions"
            )
        about = fingerprint(self.vae, configuration(self.vae.config))
        object.__setattr__(self, "fingerprint", about)

    @property
    def scaling(self) -> float:
        """What latents are multiplied by."""
        return float(self.vae.config.scaling_factor)

    @property
    def shift(self) -> float:
        """What is taken away from latents before."""
        return float(getattr(self.vae.config, "shift_factor", None) or 0.0)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return ``mean`` and ``std [image, C, h, w]`` of images ``[image, 3, H, W]``."""
        own = next(self.vae.parameters())
        posterior = self.vae.encode(pixels.to(own.device, own.dtype)).latent_dist
        mean, std = posterior.mode(), posterior.std
        return {MEAN: (mean - self.shift) * self.scaling, STD: std * self.scaling}


def read_vae(folder: Path) -> ImageEncoder:
    """Read an autoencoder; in the precision of its weights, but in float32 at least.

    Raises:
        InputError: If the configuration describes no autoencoder with a scaling factor.
        CheckpointError: If the weights are missing, damaged, unsafe, or do not fit.
    """
    vae = build(folder / "config.json", ModelMixin)
    weights = read_weights(folder)
    dtype = torch.promote_types(next(iter(weights.values())).dtype, torch.float32)
    vae = vae if vae.dtype == dtype else vae.to(dtype)
    try:
        vae.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {str(folder)!r} do not fit: {error}") from error
    return ImageEncoder(vae.eval().requires_grad_(False))
