"""Projections: rows made short, so that they can be stored, at little more than a pass's price."""

from retrac_plugin.gradients.projections.by_layer import ByLayer
from retrac_plugin.gradients.projections.count_sketch import CountSketch
from retrac_plugin.gradients.projections.factored import Factored
from retrac_plugin.gradients.projections.projection import Projection

__all__ = ["ByLayer", "CountSketch", "Factored", "Projection"]
