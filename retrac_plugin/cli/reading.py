"""Options that say how a training run is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.packing import packed

if TYPE_CHECKING:
    from retrac_plugin.runs.run import Run


@dataclass(frozen=True)
class Reading:
    """How a run is read: the options of ``reading``."""

    weights: str
    query_weights: str | None
    base: str | None
    arguments: tuple[str, ...]
    optimizer: str
    leave_out: tuple[int, ...] = ()

    def of(self, run: Path, loss: str = "mse") -> Run:
        """Read a run."""
        from retrac_plugin import read_run

        found = read_run(
            run,
            loss,
            arguments=dict(map(_parse, self.arguments)),
            weights=self.weights,
            query_weights=self.query_weights,
            base=self.base,
            optimizer=self.optimizer,
        )
        return found.without(*self.leave_out) if self.leave_out else found


reading = packed(
    "reading",
    Reading,
    click.option(
        "--weights",
        type=click.Choice(["raw", "ema"]),
        default="raw",
        show_default=True,
        help="The run's weights as they were trained, or their moving average.",
    ),
    click.option(
        "--query-weights",
        type=click.Choice(["raw", "ema"]),
        help="The same for the gradients of the pictures alone. Default: as --weights.",
    ),
    click.option(
        "--base",
        help="The model that the run fine-tuned: a folder, or its name in the Hugging Face cache.",
    ),
    click.option(
        "--argument",
        "arguments",
        multiple=True,
        metavar="NAME=VALUE",
        help="An argument of the training script that the run did not keep; may be repeated.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["plain", "adam"]),
        default="plain",
        show_default=True,
        help="Influence by plain gradient steps, or by steps as Adam scaled them.",
    ),
    click.option(
        "--leave-out",
        multiple=True,
        type=int,
        metavar="STEP",
        help="A checkpoint not to be used, by its step; the next one stands for its steps too. May "
        "be repeated.",
    ),
)
"""``--weights --query-weights --base --argument NAME=VALUE --optimizer --leave-out STEP``."""


def _parse(argument: str) -> tuple[str, Any]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, got {argument!r}", param_hint="--argument")
    try:
        return name, json.loads(value)
    except ValueError:  # then it is a word, such as v_prediction
        return name, value
