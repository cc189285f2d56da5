"""Which (timestep, noise) pairs a sample's gradient is taken at.

A sample has ``T`` timesteps with ``S`` noise draws each. On the query side the draws of a timestep
are averaged into one gradient, which Diffusion-ReTrac then normalises; on the train side all draws
of a sample are averaged into its one gradient.
"""

from retrac_plugin.draws.draw import Draw, Draws, Request, WeightedDraw, draw_within
from retrac_plugin.draws.given import Given
from retrac_plugin.draws.recorded import Recorded
from retrac_plugin.draws.shared import Shared
from retrac_plugin.draws.strided import Strided
from retrac_plugin.draws.uniform import Uniform

__all__ = [
    "Draw",
    "Draws",
    "Given",
    "Recorded",
    "Request",
    "Shared",
    "Strided",
    "Uniform",
    "WeightedDraw",
    "draw_within",
]
