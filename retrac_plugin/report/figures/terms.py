"""Where the influence of one training image on one picture comes from."""

from __future__ import annotations

from typing import Any

from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.errors import InputError
from retrac_plugin.report.figures.style import COLUMN, INK, SMALL, blank_figure, label

HEIGHT = 2.2
MOST_TICKS = 6
COLOURS = "PuOr"
"""From orange, what raised the loss, to violet: told apart by the colour blind, and in grey."""


def influence_over_training(found: Breakdown, query: int, sample: int) -> Any:
    """Return the figure of one pair's influence by checkpoint and query timestep.

    Violet lowered the picture's loss, orange raised it; the cells sum to the score, which the title
    says.

    Args:
        found: From ``breakdown``.
        query: Position of the query.
        sample: Position of the training sample.

    Raises:
        InputError: If the breakdown is of other pairs.
        MissingDependencyError: If matplotlib is not installed.
    """
    place = found.places.get((query, sample))
    if place is None:
        raise InputError(f"the breakdown has no pair ({query}, {sample}); it has {[*found.places]}")
    terms, timesteps = found.values[place].double(), found.timesteps[place, 0]
    order = timesteps.argsort()
    figure = blank_figure(COLUMN, HEIGHT, "constrained")
    axes = figure.add_subplot()
    largest = terms.abs().max().item() or 1.0
    shown = axes.pcolormesh(
        terms[:, order].flip(0).numpy(), cmap=COLOURS, vmin=-largest, vmax=largest
    )
    every = -(-len(order) // MOST_TICKS)
    texts = [f"{t:g}" for t in timesteps[order].tolist()]
    axes.set_xticks([n + 0.5 for n in range(len(order))][::every], texts[::every])
    axes.set_yticks([n + 0.5 for n in range(len(terms))], found.checkpoint_names[::-1])
    axes.tick_params(labelsize=SMALL, labelcolor=INK, length=0)
    title = f"{found.about.get('method', '')}: score {terms.sum().item():+.3g}".removeprefix(": ")
    label(axes, x="timestep of the picture", y="checkpoint", title=title)
    bar = figure.colorbar(shown, ax=axes)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK)
    bar.ax.yaxis.get_offset_text().set_size(SMALL)
    return figure
