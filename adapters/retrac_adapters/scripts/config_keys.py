"""What a configuration file of diffusers says that nobody reads, such as a misspelt key."""

from __future__ import annotations

import difflib
import inspect
import json
from pathlib import Path
from typing import Any

import diffusers
from diffusers import ConfigMixin
from diffusers.utils import logging

from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading
from retrac_plugin.runs.findings import CONTRADICTION, Finding


def unread_keys(path: Path) -> list[Finding]:
    """Return what diffusers leaves out of a configuration, for which it takes its defaults.

    Args:
        path: The configuration of a model or a scheduler; of anything else, nothing is said.

    Raises:
        InputError: If it cannot be read.
    """
    with reading(path, InputError, "the configuration in", TEXT_BYTES):
        config = json.loads(path.read_text())
    kind: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if ConfigMixin not in getattr(kind, "__mro__", ()):
        return []
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns of them, among all else
    try:
        read, unread, _ = kind.extract_init_dict(dict(config))
    finally:
        logging.set_verbosity(verbosity)
    left = [name for name in inspect.signature(kind.__init__).parameters if name not in read]
    return [
        Finding(
            CONTRADICTION,
            "configuration",
            f"{str(path)!r} says {name!r}, which {kind.__name__} of diffusers "
            f"{diffusers.__version__} does not read{_likely(name, left)}; the value is ignored",
        )
        for name in sorted(unread)
    ]


def _likely(name: str, left: list[str]) -> str:
    close = difflib.get_close_matches(name, left, 1)
    return f" (it reads {close[0]!r}, and takes its default here)" if close else ""
