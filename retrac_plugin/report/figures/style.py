"""What the figures look like, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeGuard

from torch import Tensor

from retrac_plugin.data.examples import Examples
from retrac_plugin.errors import InputError
from retrac_plugin.extras import requires
from retrac_plugin.files import write_atomically

COLUMN = 3.3
"""Width of a paper's column, in inches."""

DPI = 160
SMALL, NORMAL = 7, 8
"""Sizes of letters in points: ticks and labels, titles."""

INK, SOFT, RULE = "#1f252b", "#59636e", "#d9d5cc"
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

KINDS = (".png", ".pdf", ".svg")
"""Endings of the files that figures are written to."""

_AS_TEXT = {"pdf.fonttype": 42, "svg.fonttype": "none"}
"""Letters stay letters in a PDF and an SVG: they can be searched, and journals take them."""


def colour(method: str) -> str:
    """Return a method's colour; its name may be written as in the paper."""
    return COLOURS.get(method.lower(), OTHER)


def blank_figure(width: float, height: float, layout: Literal["constrained"] | None = None) -> Any:
    """Return an empty figure, in inches, without pyplot's global state."""
    with requires("a figure", "report"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_figure(height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    """Return a figure with panels side by side, each as wide as a paper's column."""
    figure = blank_figure(COLUMN * columns, height, "constrained")
    panels = [figure.add_subplot(1, columns, position + 1) for position in range(columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(SOFT)
        axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=SMALL)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def label(axes: Any, *, x: str = "", y: str = "", title: str = "") -> None:
    """Write what a panel shows; a name may hold a dollar sign, which is no mathematics."""
    axes.set_xlabel(x, fontsize=NORMAL, color=INK, parse_math=False)
    axes.set_ylabel(y, fontsize=NORMAL, color=INK, parse_math=False)
    axes.set_title(title, fontsize=NORMAL, color=INK, parse_math=False)


def legend_below(figure: Any, axes: Any, columns: int) -> None:
    """Write what the lines of a panel are, below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    place = "outside lower center"
    figure.legend(handles, labels, loc=place, ncols=columns, fontsize=SMALL, frameon=False)


def plain_log_ticks(*axes: Any) -> None:
    """Mark 1, 2 and 5 of each decade of logarithmic axes, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure, whole or not at all; return its path.

    Args:
        figure: A matplotlib figure.
        path: Where to; its ending says as what: ``.png``, ``.pdf`` or ``.svg``.

    Raises:
        InputError: If the ending is another.
    """
    import matplotlib as mpl

    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise InputError(
            f"path: expected a file that ends in {', '.join(KINDS)}, got {path.name!r}"
        )
    kind = path.suffix.lower()[1:]

    def write(temporary: Path) -> None:
        with mpl.rc_context(_AS_TEXT):
            figure.savefig(temporary, format=kind)

    write_atomically(path, write)
    return path


def are_pictures(examples: Examples) -> TypeGuard[Tensor]:
    """Whether a data set is one tensor ``[picture, channel, height, width]``, grey or coloured."""
    return isinstance(examples, Tensor) and examples.dim() == 4 and examples.shape[1] in {1, 3}
