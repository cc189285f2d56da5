"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retrac_plugin.image_files import FileExamples
    from retrac_plugin.run import Run

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _all_of(*decorators: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


EXISTING = click.Path(exists=True, path_type=Path)

run_and_train = _all_of(
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

reading = _all_of(
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
)
"""``--weights KIND --query-weights KIND --base MODEL --argument NAME=VALUE --optimizer KIND``."""


fitting = _all_of(
    click.option(
        "--max-memory",
        help="What to take at most beside network and data, such as 8GB: batches are cut and "
        "pictures taken in blocks, each of which costs a pass over the training set.",
    ),
    click.option(
        "--query-store",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder for the pictures' gradients where they do not fit in memory. CPU only.",
    ),
)
"""``--max-memory SIZE --query-store FOLDER``."""


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: not every method knows them all."""
    return {name: value for name, value in options.items() if value is not None}


def read(run: Path, loss: str, arguments: tuple[str, ...], **options: Any) -> Run:
    """Read a run as the options of ``reading`` say."""
    from retrac_plugin import read_run

    return read_run(run, loss, arguments=dict(map(_parse, arguments)), **options)


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


query_draws = _all_of(
    click.option(
        "--timesteps",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Evenly spaced timesteps at which a picture's own gradient is taken.",
    ),
    click.option(
        "--noise-draws",
        type=click.IntRange(1),
        default=4,
        show_default=True,
        help="Noise draws averaged at each of them.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of that noise."),
)
"""``--timesteps T --noise-draws S --seed N``."""

computing = _all_of(
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Samples per network pass; changes the cost, never a score.",
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps, ..."),
)
"""``--batch-size N --device NAME``."""
