"""What diffusers' training scripts take for options that a recorded command does not name.

Where a script's tracker kept all arguments, the defaults are among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SMALL = {"resolution": 512}
_LARGE = {"resolution": 1024}
_LANCZOS = {"image_interpolation_mode": "lanczos"}
_SD3 = {
    **_SMALL,
    "weighting_scheme": "logit_normal",
    "precondition_outputs": 1,
    "max_sequence_length": 77,
}
_FLUX = {**_SMALL, "weighting_scheme": "none", "guidance_scale": 3.5}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "train_unconditional": {"resolution": 64},
    "train_text_to_image": {**_SMALL, **_LANCZOS},
    "train_text_to_image_lora": {**_SMALL, **_LANCZOS},
    "train_text_to_image_sdxl": {**_LARGE, **_LANCZOS},
    "train_text_to_image_lora_sdxl": {**_LARGE, **_LANCZOS},
    "train_dreambooth": _SMALL,
    "train_dreambooth_lora": {**_SMALL, **_LANCZOS},
    "train_dreambooth_lora_sdxl": {**_LARGE, **_LANCZOS},
    "train_dreambooth_sd3": _SD3,
    "train_dreambooth_lora_sd3": _SD3,
    "train_dreambooth_flux": {**_FLUX, **_LANCZOS, "max_sequence_length": 77},
    "train_dreambooth_lora_flux": {**_FLUX, "max_sequence_length": 512, "lora_alpha": 4},
}
"""By what a script's file is called; of the options that decide the loss or the conditions."""


def defaults_of(command: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the defaults of a recorded script, or None if it is not known."""
    return DEFAULTS.get(Path(command[0]).stem) if command else None
