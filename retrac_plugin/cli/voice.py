"""How much a command says, and where: ``--quiet`` and ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from retrac_plugin.progress import SILENT, shown_as

_KEY = "retrac_plugin.cli.voice"


@dataclass(frozen=True)
class Voice:
    """How a command speaks.

    Attributes:
        quiet: It says nothing but errors and, if it is asked for, its answer.
        as_json: Its answer is one JSON object, and stdout has nothing else.
    """

    quiet: bool = False
    as_json: bool = False

    @property
    def options(self) -> list[str]:
        """What another command is told to speak in the same way."""
        told = {"--quiet": self.quiet, "--json": self.as_json}
        return [option for option, on in told.items() if on]


def voice() -> Voice:
    """Return how the command that is running speaks."""
    context = click.get_current_context(silent=True)
    found: Voice = Voice() if context is None else context.meta.get(_KEY, Voice())
    return found


def _setting(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[_KEY] = replace(context.meta.get(_KEY, Voice()), **{name: value})
        if name == "quiet" and value:
            context.with_resource(shown_as(SILENT))

    return note


quiet = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_setting("quiet"),
    help="Say nothing but errors, and show no progress.",
)

as_json = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_setting("as_json"),
    help="Answer with one JSON object on stdout; all else goes to stderr.",
)


def answer(make: Callable[[], Mapping[str, Any]]) -> None:
    """Print what a command found as one JSON object, if it was asked to.

    Args:
        make: Makes it; numbers that JSON has not, NaN and infinity, become null.
    """
    if voice().as_json:
        click.echo(json.dumps(_plain(make()), ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
