"""``retrac doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.reading import Reading, reading
from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.runs.findings import Finding

RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("run", type=RUN)
@reading
def doctor(run: Path, reading: Reading) -> None:
    """Say what a training run recorded, what it did not, and what that means for its scores.

    RUN is the folder of a training run, as for `retrac attribute`. Every checkpoint is loaded. Exit
    status: 0 if nothing contradicts, also where something was not recorded; 1 if records contradict
    each other, a checkpoint cannot be used, or the run cannot be read.
    """
    from retrac_plugin.runs.diagnosis import diagnose
    from retrac_plugin.runs.findings import CONTRADICTION, of_kind

    found = diagnose(reading.of(run))
    _print(found)
    if of_kind(found, CONTRADICTION):
        raise SystemExit(1)


def _print(findings: list[Finding]) -> None:
    from retrac_plugin.runs.findings import KINDS, of_kind

    for kind in KINDS:
        for position, finding in enumerate(of_kind(findings, kind)):
            if position == 0:
                tell(kind)
            tell(f"  {finding.subject}: {finding.text}")
