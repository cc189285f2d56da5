"""Diffusion-TracIn and Diffusion-ReTrac in Captum.

Both classes are real ``TracInCP`` ones. With a diffusion model, the core computes their scores;
without one they are ``TracInCP`` itself, gradient norms kept or taken away. Either way each
checkpoint is loaded once per call, and the user's network is left as it was.

Nothing else in this package imports captum.
"""

from retrac_plugin.extras import requires

with requires("retrac_plugin.frameworks.captum", "captum"):
    from retrac_plugin.frameworks.captum.attributors import DiffusionTracInCP
    from retrac_plugin.frameworks.captum.retrac import DiffusionReTracCP

__all__ = ["DiffusionReTracCP", "DiffusionTracInCP"]
