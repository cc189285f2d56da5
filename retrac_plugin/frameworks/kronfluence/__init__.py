"""Influence functions by kronfluence on diffusion models.

kronfluence approximates the Fisher matrix by EK-FAC or K-FAC, layer by layer (Grosse et al., 2023,
arXiv 2308.03296). It declares torchvision, which nothing here imports, so that it is installed
without its dependencies.

Nothing outside this package imports kronfluence.
"""

from retrac_plugin.extras import requires

with requires(
    "retrac_plugin.frameworks.kronfluence",
    "kronfluence",
    then="pip install --no-deps kronfluence",
):
    from retrac_plugin.frameworks.kronfluence.methods import KronfluenceMethod

__all__ = ["KronfluenceMethod"]
