"""Diffusion-TracIn and Diffusion-ReTrac in dattri, and dattri's own methods on diffusion models.

Nothing else in this package imports dattri.
"""

import warnings

from retrac_plugin.extras import requires

with requires("retrac_plugin.frameworks.dattri", "dattri"), warnings.catch_warnings():
    # Importing dattri compiles a function, and torch's compiler uses what torch deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from retrac_plugin.frameworks.dattri.attributors import (
        DiffusionBaseAttributor,
        DiffusionReTracAttributor,
        DiffusionTracInAttributor,
    )
    from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
    from retrac_plugin.model.outputs import OUTPUTS

__all__ = [
    "OUTPUTS",
    "DiffusionAttributionTask",
    "DiffusionBaseAttributor",
    "DiffusionReTracAttributor",
    "DiffusionTracInAttributor",
]
