"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
        type=EXISTING,
        required=True,
        help="The training set, as trained: a folder of images, or an .npz, .npy or .safetensors.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["mse", "l1"]),
        default="mse",
        show_default=True,
        help="The loss that the run was trained with.",
    ),
)
"""``RUN --train PATH --loss NAME``."""

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
