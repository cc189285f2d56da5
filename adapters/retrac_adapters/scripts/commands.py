"""The arguments of a recorded script, from its command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRACKED_AS = {
    "train_dreambooth_lora": "dreambooth-lora",
    "train_dreambooth_lora_sd15_advanced": "dreambooth-lora-sd-15",
    "train_dreambooth_lora_sdxl": "dreambooth-lora-sd-xl",
    "train_text_to_image": "text2image-fine-tune",
    "train_text_to_image_lora": "text2image-fine-tune",
}
"""What scripts call themselves to their trackers, by what their files are called."""


def script_of(command: Sequence[str]) -> str | None:
    """Return what the script calls itself to its tracker, by default what its file is called."""
    stem = Path(command[0]).stem if command else None
    return None if stem is None else TRACKED_AS.get(stem, stem)


def options_of(command: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line by name; one without a value is True.

    Args:
        command: The script and its arguments.
    """
    options: dict[str, Any] = {}
    for argument, following in zip(command[1:], [*command[2:], "--"], strict=False):
        if not argument.startswith("--") or argument == "--":
            continue
        name, equals, value = argument[2:].partition("=")
        if not equals and not following.startswith("--"):
            equals, value = "=", following
        options[name.replace("-", "_")] = _parse(value) if equals else True
    return options


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # then it is a word, such as v_prediction
        return value
