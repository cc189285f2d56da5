"""Diffusion-ReTrac as Captum's own kind of attributor."""

from __future__ import annotations

from retrac_plugin.attribution.attributors import DiffusionReTrac
from retrac_plugin.frameworks.captum.attributors import DiffusionTracInCP


class DiffusionReTracCP(DiffusionTracInCP):
    """Diffusion-ReTrac as a ``captum.influence.TracInCP``: gradient norms are taken away.

    Without a diffusion model, ``TracInCP`` with each sample's gradient normalised, per checkpoint
    and over all attributed parameters together. Its arguments are ``DiffusionTracInCP``'s.
    """

    core = DiffusionReTrac
    meets_itself = False
