"""What the figures look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from torch import Tensor

from retrac_plugin.data.examples import Examples
from retrac_plugin.extras import requires
from retrac_plugin.files import write_atomically

DPI = 150
INK, SOFT, RULE = "#1f252b", "#59636e", "#e3e0d9"
OTHER = "#9aa3ab"
"""Colour of the methods that are not singled out."""

COLOURS = {
    "diffusion-tracin": "#0072b2",
    "diffusion-retrac": "#d55e00",
    "retrac-curvature": "#cc79a7",
    "trak": "#009e73",
    "d-trak": "#e69f00",
    "retrac-replay": "#8c6d46",
    "tracincp": "#56b4e9",
    "random": "#000000",
    "retrac-kernel": "#a3168c",
    "d-trak-mean": "#b07c00",
    "pixel-kernel": "#444444",
}
"""Of the methods that are followed through all figures; told apart by the colour blind."""


def colour(method: str) -> str:
    """Return a method's colour."""
    return COLOURS.get(method, OTHER)


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    """Return a figure, in inches, with panels side by side, without pyplot's global state."""
    with requires("a figure", "report"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, columns, position + 1) for position in range(columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(SOFT)
        axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=8)
        axes.grid(color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
    return figure, panels


def plain_log_ticks(axes: Any) -> None:
    """Mark 1, 2 and 5 of each decade of two logarithmic axes, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path


def are_pictures(examples: Examples) -> TypeGuard[Tensor]:
    """Whether a data set is one tensor ``[picture, channel, height, width]``, grey or coloured."""
    return isinstance(examples, Tensor) and examples.dim() == 4 and examples.shape[1] in {1, 3}
