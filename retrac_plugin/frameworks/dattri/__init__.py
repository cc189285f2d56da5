"""Diffusion-TracIn and Diffusion-ReTrac in dattri, and dattri's own methods on diffusion models.

Nothing else in this package imports dattri.
"""

from retrac_plugin.extras import requires

with requires("retrac_plugin.frameworks.dattri", "dattri"):
    from retrac_plugin.frameworks.dattri.attributors import (
        DiffusionBaseAttributor,
        DiffusionReTracAttributor,
        DiffusionTracInAttributor,
    )
    from retrac_plugin.frameworks.dattri.outputs import OUTPUTS
    from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask

__all__ = [
    "OUTPUTS",
    "DiffusionAttributionTask",
    "DiffusionBaseAttributor",
    "DiffusionReTracAttributor",
    "DiffusionTracInAttributor",
]
