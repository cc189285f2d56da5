"""``retrac doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.reading import Reading, reading
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.training import Training, training
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.runs.findings import Finding


@click.command(epilog=example("retrac doctor runs/photos --train photos"))
@quiet
@as_json
@training
@reading
def doctor(training: Training, reading: Reading) -> None:
    """Say what a training run recorded, what it did not, and what that means for its scores.

    RUN is the folder of a training run, as for `retrac attribute`. Every checkpoint is loaded, the
    training set is read if it is given or the run names it, and the loss of its first image is
    computed. Exit status: 1 if the run cannot be read or attributed, its checkpoints and training
    set included: whatever `retrac attribute` refuses of a run, this refuses. 0 otherwise, also
    where records contradict each other; it then says which one is followed.
    """
    from retrac_plugin.runs.diagnosis import diagnose
    from retrac_plugin.runs.findings import UNUSABLE, of_kind

    found = diagnose(reading.of(training.run, training.loss), training.train, training.cache)
    _print(found)
    usable = not of_kind(found, UNUSABLE)
    answer(lambda: {"usable": usable, "findings": [asdict(each) for each in found]})
    if not usable:
        raise SystemExit(1)


def _print(findings: list[Finding]) -> None:
    from retrac_plugin.runs.findings import KINDS, of_kind

    for kind in KINDS:
        for position, finding in enumerate(of_kind(findings, kind)):
            if position == 0:
                tell(kind)
            tell(f"  {finding.subject}: {finding.text}")
