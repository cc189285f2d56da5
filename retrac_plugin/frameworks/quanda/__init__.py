"""Our methods as an explainer of quanda, whose metrics then judge them.

quanda asks of an explainer how it is made and that it explains; nothing of it is imported here, so
that this works beside any of its releases.
"""

from retrac_plugin.frameworks.quanda.explainer import DiffusionExplainer

__all__ = ["DiffusionExplainer"]
