"""The methods that a command line asks for, and by how many draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from retrac_plugin.draws import Draws
    from retrac_plugin.runs.run import Run

METHODS = ("diffusion-tracin", "diffusion-retrac")

REPEATS = 4
"""How often what was not recorded is drawn, unless told otherwise."""

method = click.option(
    "--method",
    "methods",
    multiple=True,
    default=METHODS,
    show_default=True,
    help="A method that `retrac list` names; may be repeated.",
)

repeating = click.option(
    "--repeats",
    type=click.IntRange(1),
    help="How often to draw what training did not record; scores are means, with standard errors. "
    f"Default: {REPEATS}, or 1 where training is replayed.",
)


def repeats_of(run: Run, repeats: int | None) -> int:
    """Return how often to draw, by default once where nothing of training is drawn."""
    if repeats is not None:
        return repeats
    return REPEATS if run.is_drawn else 1


def make_attributors(
    run: Run, methods: Sequence[str], query_draws: Draws, **options: Any
) -> list[Any]:
    """Return the methods by name, for a run.

    Args:
        run: The run.
        methods: Their names.
        query_draws: Timesteps and noise of the query side.
        **options: Further arguments of the methods.
    """
    from retrac_plugin import plugins

    return [
        plugins.get_attributor(name)(
            run.model,
            run.checkpoints,
            train_draws=run.train_draws,
            query_draws=query_draws,
            progress=True,
            **options,
        )
        for name in methods
    ]
