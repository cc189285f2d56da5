"""Which methods a command computes."""

from __future__ import annotations

import click

METHODS = ("diffusion-tracin", "diffusion-retrac")

methods = click.option(
    "--method",
    "methods",
    multiple=True,
    default=METHODS,
    show_default=True,
    help="A method that `retrac list` names; may be repeated.",
)
