"""Figures as functions that return matplotlib figures; ``save`` writes one as PNG, PDF or SVG.

A panel is as wide as a paper's column, 3.3 inches, with letters of 7 points or more. Colours are
told apart by the colour blind, and never say alone what a reader has to know. Clouds of points are
held as pixels within an otherwise drawn PDF or SVG, so that it opens at once.
"""

from retrac_plugin.report.figures.grid import IN_A_COLUMN, WIDE, proponent_grid
from retrac_plugin.report.figures.norms import influence_against_norm, norm_by_timestep
from retrac_plugin.report.figures.style import save
from retrac_plugin.report.figures.terms import influence_over_training

__all__ = [
    "IN_A_COLUMN",
    "WIDE",
    "influence_against_norm",
    "influence_over_training",
    "norm_by_timestep",
    "proponent_grid",
    "save",
]
