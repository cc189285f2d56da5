"""A drawing surface for pictures, with the frames that say how they stand to a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from retrac_plugin.report.figures.style import INK, RULE
from retrac_plugin.report.images import pixels
from retrac_plugin.report.neighbours import Standing

PIXELS = 320
"""Of a picture's longer side, at most."""

FRAMES = {Standing.MINORITY: ("#d55e00", "-", 2.2), Standing.OTHER_CLASS: ("#0072b2", "--", 1.4)}
"""Colour, stroke and width; told apart without colour, and by the colour blind."""


@dataclass(frozen=True)
class Sheet:
    """A drawing surface measured in inches from its top left corner."""

    axes: Any

    def image(self, image: Tensor | None, left: float, top: float, side: float) -> None:
        """Draw an image, fitted into a square, each pixel a sharp block; nothing for None."""
        if image is None:
            return
        levels = pixels(image, largest_side=PIXELS)
        height, width = levels.shape[:2]
        scale = side / max(height, width)
        left, top = left + (side - width * scale) / 2, top + (side - height * scale) / 2
        extent = (left, left + width * scale, top + height * scale, top)
        colours = levels[..., 0] if levels.shape[2] == 1 else levels
        self.axes.imshow(
            colours, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest"
        )

    def text(self, text: str, left: float, top: float, **style: Any) -> None:
        """Write text below and right of a point."""
        style = {"color": INK, "va": "top", "parse_math": False, **style}  # a label may hold a $
        self.axes.text(left, top, text, **style)

    def frame(self, standing: Standing, left: float, top: float, side: float) -> None:
        """Draw the frame of a standing around a square; plain has none."""
        if standing not in FRAMES:
            return
        colour, stroke, width = FRAMES[standing]
        corners = (
            (left, left + side, left + side, left, left),
            (top, top, top + side, top + side, top),
        )
        self.axes.plot(*corners, color=colour, linestyle=stroke, linewidth=width)

    def rule(self, left: float, right: float, top: float) -> None:
        """Draw a thin horizontal line."""
        self.axes.plot((left, right), (top, top), color=RULE, linewidth=0.8)
