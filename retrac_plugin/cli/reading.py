"""Options that say which training run is read, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.packing import packed

if TYPE_CHECKING:
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.runs.run import Run

EXISTING = click.Path(exists=True, path_type=Path)


@dataclass(frozen=True)
class Trained:
    """What was trained, and on what: the options of ``trained``."""

    run: Path
    train: Path | None
    cache: Path
    loss: str

    def examples(self, found: Run, device: str) -> FileExamples:
        """Return the training set, encoded on ``device`` where it has to be."""
        return found.train_examples(self.train, cache=self.cache, device=device)


trained = packed(
    "trained",
    Trained,
    click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    click.option(
        "--train",
        "--data",
        "train",
        type=EXISTING,
        help="The training set, as trained: a folder of images, with captions if it was trained "
        "with some, or an .npz, .npy or .safetensors. Default: the folder that the run's "
        "arguments name.",
    ),
    click.option(
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("retrac-cache"),
        show_default=True,
        help="Folder for latents and captions, which are encoded once.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["mse", "l1", "huber", "smooth_l1"]),
        default="mse",
        show_default=True,
        help="The loss that the run was trained with.",
    ),
)
"""``RUN --train PATH --cache FOLDER --loss NAME``."""


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


def prepared(examples: FileExamples) -> FileExamples:
    """Return examples that are ready to be read, after saying what to know of them."""
    examples.prepare(progress=True)
    if examples.remark:
        click.echo(examples.remark)
    return examples


def _parse(argument: str) -> tuple[str, Any]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, got {argument!r}", param_hint="--argument")
    try:
        return name, json.loads(value)
    except ValueError:  # then it is a word, such as v_prediction
        return name, value
