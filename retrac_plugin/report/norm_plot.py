"""Gradient norm against timestep, laid out for the page's SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.report.contents import NormRecord

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 390, 12, 210
"""The plot area in the drawing's own units."""

BINS = 20
FEWEST_IN_BIN = 5
MOST_POINTS = 900
"""More would only darken the cloud and weigh on the page."""

MOST_X_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class NormPlot:
    """What the template draws.

    Attributes:
        points: Centres of dots.
        median: Corners of the line through the medians of the bins, as SVG points.
        x_ticks: Timesteps.
        y_ticks: Norms.
        count: How many visits there are, drawn or not.
        spread: Largest over smallest median of the bins, or None for a single bin.
    """

    points: Sequence[tuple[float, float]]
    median: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    count: int
    spread: float | None


@dataclass(frozen=True)
class Axis:
    """A linear map from values to positions."""

    first: float
    last: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the position of a value, to a tenth of a unit."""
        share = (value - self.first) / (self.last - self.first)
        return round(self.start + share * (self.end - self.start), 1)


def lay_out(record: NormRecord) -> NormPlot | None:
    """Lay out the plot; None if no norm is positive and finite, as its axis needs."""
    timesteps = record.timesteps.detach().flatten().double().cpu()
    norms = record.norms.detach().flatten().double().cpu()
    drawable = (norms > 0) & torch.isfinite(norms)
    if not drawable.any():
        return None
    timesteps, logs = timesteps[drawable], norms[drawable].log10()
    x = Axis(0, max(timesteps.max().item(), 1), LEFT, RIGHT)
    y = Axis(logs.min().item() - 0.05, logs.max().item() + 0.05, BOTTOM, TOP)
    middles = medians(timesteps, logs, x.last)
    levels = [level for _, level in middles]
    return NormPlot(
        points=[(x.at(t), y.at(level)) for t, level in _some(timesteps, logs)],
        median=" ".join(f"{x.at(t)},{y.at(level)}" for t, level in middles),
        x_ticks=[Tick(x.at(value), f"{value:g}") for value in _round_numbers(x.last)],
        y_ticks=[Tick(y.at(math.log10(value)), _two_digits(value)) for value in _decades(y)],
        count=len(norms),
        spread=10 ** (max(levels) - min(levels)) if len(levels) > 1 else None,
    )


def _some(timesteps: Tensor, logs: Tensor) -> list[tuple[float, float]]:
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(logs), generator=generator)[:MOST_POINTS]
    return list(zip(timesteps[chosen].tolist(), logs[chosen].tolist(), strict=True))


def medians(timesteps: Tensor, logs: Tensor, last: float) -> list[tuple[float, float]]:
    """Return the centre and median of each bin of timesteps that holds enough.

    Args:
        timesteps: ``[visit]``.
        logs: Logarithms of norms, ``[visit]``.
        last: Where the last bin ends.
    """
    bins = (timesteps * BINS / last).long().clamp(max=BINS - 1)
    return [
        ((number + 0.5) * last / BINS, logs[bins == number].median().item())
        for number in range(BINS)
        if (bins == number).sum() >= FEWEST_IN_BIN
    ]


def _round_numbers(last: float) -> list[float]:
    """Return a few evenly spaced round numbers from 0 to ``last``."""
    power = 10 ** math.floor(math.log10(last))
    step = next(power * part for part in (0.2, 0.5, 1, 2) if last < MOST_X_TICKS * power * part)
    return [step * number for number in range(math.floor(last / step) + 1)]


def _decades(y: Axis) -> list[float]:
    """Return norms to mark: 1, 2 and 5 of each decade, its start only if many, the ends if few."""
    parts = (1,) if y.last - y.first > 2.5 else (1, 2, 5)
    powers = range(math.floor(y.first), math.ceil(y.last) + 1)
    found = [
        part * 10.0**power
        for power in powers
        for part in parts
        if y.first <= power + math.log10(part) <= y.last
    ]
    return found if len(found) > 1 else [10**y.first, 10**y.last]


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
