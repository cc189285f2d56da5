"""Which numbers a training script's arguments can be: a step size made of others has no meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from retrac_plugin.errors import InputError

COUNTS = {
    "checkpointing_steps",
    "gradient_accumulation_steps",
    "max_sequence_length",
    "max_train_samples",
    "max_train_steps",
    "num_samples",
    "rank",
    "resolution",
    "tokenizer_max_length",
    "train_batch_size",
}
"""Whole numbers, 1 at least."""

AT_LEAST_ZERO = {
    "guidance_scale",
    "learning_rate",
    "logit_std",
    "lora_alpha",
    "noise_offset",
    "prior_loss_weight",
    "seed",
    "snr_gamma",
}
"""Numbers, 0 at least."""

NUMBERS = {"logit_mean", "mode_scale"}
"""Any finite numbers."""


def check_numbers(values: Mapping[str, Any]) -> None:
    """Refuse arguments that no training can have had; None is an argument that was not given.

    Raises:
        InputError: If one is no number, or out of its range.
    """
    for name in sorted(COUNTS | AT_LEAST_ZERO | NUMBERS):
        value = values.get(name)
        if value is not None and not _fits(name, value):
            raise InputError(
                f"argument {name}: expected {_expected(name)}, got {str(value)[:_SHOWN]!r}. Pass "
                f"arguments={{'{name}': ...}} as training had it"
            )


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        if name in COUNTS:
            return not isinstance(value, float) and 1 <= int(value) <= _LARGEST
        number = float(value)
    except (ValueError, OverflowError):
        return False
    return math.isfinite(number) and (name in NUMBERS or number >= 0)


def _expected(name: str) -> str:
    if name in COUNTS:
        return f"a whole number from 1 to {_LARGEST:,}"
    return "a finite number" if name in NUMBERS else "a number of at least 0"


_LARGEST = 10**12
_SHOWN = 60
