"""Messages of the library in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

_STATED = re.compile(r"arguments=\{([^}]*)\}")
_PAIR = re.compile(r"'(\w+)': ('[^']*'|[^,]+)")

_IN_PYTHON = re.compile(r"(?<![\w-])(model|train_draws|query_draws|max_memory|query_store)=")
"""What no option stands for."""


def in_options(text: str, parameters: Iterable[click.Parameter]) -> str:
    """Return a message with a command's options in the place of Python's arguments.

    ``base=`` becomes ``--base``, ``weights='raw'`` becomes ``--weights raw``, a leading
    ``max_memory:`` becomes ``--max-memory:``, and ``arguments={'resolution': ...}`` becomes
    ``--argument resolution=...``.
    """
    for parameter in parameters:
        if isinstance(parameter, click.Option) and parameter.name:
            text = _with_option(text, parameter.name, max(parameter.opts, key=len))
    return _IN_PYTHON.sub(r"in Python, \1=", text)


def _with_option(text: str, name: str, option: str) -> str:
    if name == "arguments":
        return _STATED.sub(_each_argument, text)
    text = re.sub(rf"(?<![\w-]){name}='?([\w.-]+)'?", rf"{option} \1", text)
    text = re.sub(rf"(?<![\w-]){name}=(?!\w)", option, text)
    return re.sub(rf"^{name}: ", f"{option}: ", text)


def _each_argument(stated: re.Match[str]) -> str:
    pairs = _PAIR.findall(stated[1]) or [("NAME", "VALUE")]
    return " ".join(f"--argument {name}={value.strip(chr(39))}" for name, value in pairs)
