"""``retrac doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retrac_plugin.findings import Finding

RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("run", type=RUN)
@click.option(
    "--weights",
    type=click.Choice(["raw", "ema"]),
    default="raw",
    show_default=True,
    help="The weights that were trained, or their moving average.",
)
@click.option("--base", help="The model that was fine-tuned: a folder, or its name in the cache.")
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the training script that the run did not keep; may be repeated.",
)
def doctor(run: Path, weights: str, base: str | None, arguments: tuple[str, ...]) -> None:
    """Say what a training run recorded, what it did not, and what that means for its scores.

    RUN is the folder of a training run, as for `retrac attribute`. Every checkpoint is loaded. Exit
    status: 0 if nothing contradicts, also where something was not recorded; 1 if records contradict
    each other, a checkpoint cannot be used, or the run cannot be read.
    """
    from retrac_plugin import read_run
    from retrac_plugin.diagnosis import diagnose
    from retrac_plugin.findings import CONTRADICTION, of_kind

    stated = dict(_parse(argument) for argument in arguments)
    found = diagnose(read_run(run, weights=weights, base=base, arguments=stated))
    _print(found)
    if of_kind(found, CONTRADICTION):
        raise SystemExit(1)


def _parse(argument: str) -> tuple[str, Any]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, got {argument!r}", param_hint="--argument")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _print(findings: list[Finding]) -> None:
    from retrac_plugin.findings import KINDS, of_kind

    for kind in KINDS:
        for position, finding in enumerate(of_kind(findings, kind)):
            if position == 0:
                click.echo(kind)
            click.echo(f"  {finding.subject}: {finding.text}")
