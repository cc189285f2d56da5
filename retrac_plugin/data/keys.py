"""What a sample's timesteps and noise are drawn by: a key of what it was made from.

A picture of 8 bits has the same key in every floating type. Other samples are keyed by their values
in float32; rounded to half precision they are other samples, with other draws, which is said.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.randomness import content_key

_HALF = (torch.float16, torch.bfloat16)
_LAST_BIT = 2.0**-23
"""What float32 loses of a value in [-1, 1] that was computed as ``level / 127.5 - 1``."""


def keys_of(samples: Tensor, given: Any, role: str) -> list[int]:
    """Return the keys of samples ``[sample, ...]``.

    Args:
        samples: The samples.
        given: Their ``sample_key``, one each; None where their own values tell them.
        role: What they are, for the warning that rounded ones are drawn for otherwise.
    """
    if given is not None:
        return [int(key) for key in torch.as_tensor(given).reshape(-1)]
    samples = samples.detach().cpu()  # one wait for all
    if samples.dtype == torch.float32 or not samples.is_floating_point():
        return [content_key(sample) for sample in samples]
    pictures = [_picture(sample) for sample in samples]
    if samples.dtype in _HALF and None in pictures:
        warnings.warn(
            f"{role}: samples are {str(samples.dtype).removeprefix('torch.')}, and timesteps and "
            "noise are drawn by a sample's values, so that they are others than for the same "
            "samples before they were rounded. Pass them in float32 (the model keeps its type), or "
            "with a 'sample_key' each; draws that are given are what they are",
            stacklevel=2,
        )
    return [
        content_key(sample if picture is None else picture)
        for sample, picture in zip(samples, pictures, strict=True)
    ]


def _picture(sample: Tensor) -> Tensor | None:
    """Return a picture of 8 bits in [-1, 1] as it is in float32, None if it is none."""
    levels = ((sample.float() + 1) * 127.5).round()
    picture = levels / 127.5 - 1
    if sample.dtype in _HALF:
        same = torch.equal(picture.to(sample.dtype), sample)
    else:
        same = bool(((picture - sample).abs() <= _LAST_BIT).all())
    return picture if same else None
