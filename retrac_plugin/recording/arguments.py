"""What a script's own arguments say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.errors import InputError

SECRET, HIDDEN = re.compile(r"--?[\w-]*(token|key|password|secret)", re.IGNORECASE), "..."


def check_supported(command: Sequence[str]) -> None:
    """Refuse what would record the wrong ids.

    Raises:
        InputError: If latents are cached.
    """
    if "--cache_latents" in command:
        raise InputError(
            "retrac record: with --cache_latents the scripts of diffusers train on latents in the "
            "order of their first pass, not on the batch they load: leave it out"
        )


def without_secrets(command: Sequence[str]) -> list[str]:
    """Return a command without the values of options such as ``--hub_token``."""
    shown: list[str] = []
    for argument in command:
        name, equals, _ = argument.partition("=")
        if shown and SECRET.fullmatch(shown[-1]):
            argument = HIDDEN
        elif equals and SECRET.fullmatch(name):
            argument = f"{name}={HIDDEN}"
        shown.append(argument)
    return shown


def output_dir(command: Sequence[str]) -> Path | None:
    """Return what diffusers' scripts are told of their folder, in either way of writing it."""
    for position, argument in enumerate(command):
        name, _, value = argument.partition("=")
        if name == "--output_dir":
            value = value or next(iter(command[position + 1 :]), "")
            return Path(value) if value else None
    return None
