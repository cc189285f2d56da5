"""What the model draws, so that one sees how well it was trained."""

from __future__ import annotations

from typing import Any

from retrac_plugin.benchmarks.task import Task
from retrac_plugin.report.figures.style import are_pictures, blank_figure

KIND = "generated"
COLUMNS = 16
MOST = 3 * COLUMNS
SIDE = 0.42
"""Of a picture, in inches."""


def generated_pictures(task: Task) -> Any | None:
    """Return the figure of the generated queries side by side; None if there are no pictures."""
    pictures = next((kind.examples for kind in task.queries if kind.name == KIND), None)
    if pictures is None or not are_pictures(pictures):
        return None
    shown = pictures[: min(MOST, len(pictures) // COLUMNS * COLUMNS or len(pictures))]
    columns = min(COLUMNS, len(shown))
    framed = ((shown.detach().cpu().clamp(-1, 1) + 1) / 2).movedim(1, -1)
    height, width = framed.shape[1:3]
    grid = framed.new_ones(len(shown) // columns * (height + 1), columns * (width + 1), 3)
    for position, picture in enumerate(framed):
        top, left = position // columns * (height + 1), position % columns * (width + 1)
        grid[top : top + height, left : left + width] = picture
    figure = blank_figure(columns * SIDE, len(shown) // columns * SIDE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(grid.numpy(), interpolation="nearest")
    axes.set_axis_off()
    return figure
