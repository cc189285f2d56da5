"""Which numbers a training script's arguments can be: a step size made of others has no meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrac_plugin.errors import InputError

_LARGEST = 10**12
_SHOWN = 60


@dataclass(frozen=True)
class Range:
    """Which numbers an argument can be.

    Attributes:
        kind: ``int`` for whole numbers.
        words: What they are, for messages.
        least: The least of them.
        open: Whether the least is none of them.
    """

    kind: type[int] | type[float]
    words: str
    least: float = -math.inf
    open: bool = False

    def fits(self, value: Any) -> bool:
        """Say whether a value, or a text of it, is one of them."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return False
        if self.kind is int and isinstance(value, float):
            return False
        try:
            number = self.kind(value)
        except (ValueError, OverflowError):
            return False
        if not math.isfinite(number) or (self.kind is int and number > _LARGEST):
            return False
        return number > self.least if self.open else number >= self.least


COUNT = Range(int, f"a whole number from 1 to {_LARGEST:,}", 1)
PLACE = Range(int, f"a whole number from 0 to {_LARGEST:,}", 0)
POSITIVE = Range(float, "a number above 0", 0, open=True)
AT_LEAST_ZERO = Range(float, "a number of at least 0", 0)
ANY = Range(float, "a finite number")

NUMBERS: Mapping[str, Range] = {
    "checkpointing_steps": COUNT,
    "gradient_accumulation_steps": COUNT,
    "guidance_scale": AT_LEAST_ZERO,
    "huber_c": POSITIVE,
    "learning_rate": AT_LEAST_ZERO,
    "logit_mean": ANY,
    "logit_std": AT_LEAST_ZERO,
    "lora_alpha": AT_LEAST_ZERO,
    "max_grad_norm": AT_LEAST_ZERO,
    "max_sequence_length": COUNT,
    "max_train_samples": COUNT,
    "max_train_steps": COUNT,
    "mode_scale": ANY,
    "noise_offset": AT_LEAST_ZERO,
    "num_samples": COUNT,
    "prior_loss_weight": AT_LEAST_ZERO,
    "rank": COUNT,
    "resolution": COUNT,
    "seed": AT_LEAST_ZERO,
    "snr_gamma": AT_LEAST_ZERO,
    "timestep_bias_begin": PLACE,
    "timestep_bias_end": PLACE,
    "timestep_bias_multiplier": POSITIVE,
    "timestep_bias_portion": AT_LEAST_ZERO,
    "tokenizer_max_length": COUNT,
    "train_batch_size": COUNT,
}
"""Every option of ``options.FOLLOWED`` that is a number."""


def check_numbers(values: Mapping[str, Any]) -> None:
    """Refuse arguments that no training can have had; None is an argument that was not given.

    Raises:
        InputError: If one is no number, or out of its range.
    """
    for name, numbers in NUMBERS.items():
        value = values.get(name)
        if value is not None and not numbers.fits(value):
            raise InputError(
                f"argument {name}: expected {numbers.words}, got {str(value)[:_SHOWN]!r}. Pass "
                f"arguments={{'{name}': ...}} as training had it"
            )
