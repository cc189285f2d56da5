"""Activations in the place of gradients: what a network makes of a sample, by forward passes alone.

An engine of them gives whoever asks for features a sample's activations, projected as gradients
are; so they are drawn, averaged over noise, rescaled and shared in the same ways.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from retrac_plugin.attribution.rescaling import directions
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import (
    Batch,
    Features,
    LossFunction,
    Parameters,
    Products,
    RowGradients,
)
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.projections import Projection
from retrac_plugin.gradients.projections.projection import PreparedProjection
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.model.at_weights import LossesAt

_UP_BLOCK = re.compile(r"(^|\.)up_blocks\.\d+$")


class Activations:
    """A ``GradientEngine`` whose rows are the outputs of a network's later layers, side by side.

    Those of the up blocks; of a network without such, of the second half of its longest list of
    blocks. The output of each layer, averaged over the draws of a row, has norm 1, so that no layer
    drowns the others. No gradient is taken.

    Args:
        losses: The model's losses at a checkpoint.
        parameters: Its attributed parameters.
        scales: Not used.

    Raises:
        InputError: If the network has no list of blocks.
    """

    def __init__(
        self, losses: LossFunction, parameters: Parameters, scales: Parameters | None = None
    ) -> None:
        self.losses, self.parameters = losses, parameters
        self._layers = later_layers(cast(LossesAt, losses).model.network)
        self.width = 0  # known once they have been seen

    def features(
        self, batches: Iterable[Batch], draws: int, projection: Projection
    ) -> Iterator[Features]:
        """See ``StreamedEngine.features``."""
        prepared: PreparedProjection | None = None
        for batch in batches:
            losses, rows = self.gradients(batch, draws)
            if prepared is None:  # the width is known now
                layout = Layout({"activations": torch.empty(self.width, device="meta")})
                prepared = projection.prepare(layout, rows)
            consumer = prepared.consumer(len(rows))
            consumer.block(slice(0, len(rows)), slice(0, self.width), rows)
            yield Features(losses, consumer.features, consumer.norms())

    @torch.no_grad()
    def gradients(self, batch: Batch, draws: int) -> RowGradients:
        """Return the activations of every row, ``[row, width]``."""
        seen: list[Tensor] = []
        hooks = [layer.register_forward_hook(_keeping(seen)) for layer in self._layers]
        try:
            losses = self.losses(self.parameters, batch)
        finally:
            for hook in hooks:
                hook.remove()
        own = [each.flatten(1) for each in seen if len(each) == len(losses)]
        means = [each.view(len(losses) // draws, draws, -1).mean(1) for each in own]
        rows = torch.cat([directions(each) for each in means], dim=1)
        self.width = rows.shape[1]
        return RowGradients(losses.view(-1, draws), rows)

    def products(self, batches: Iterable[Batch], draws: int, vectors: Tensor) -> Iterator[Products]:
        """See ``GradientEngine.products``."""
        for batch in batches:
            losses, rows = self.gradients(batch, draws)
            yield Products(losses, rows @ vectors.T, row_norms(rows))

    def fallbacks(self) -> dict[str, str]:
        """See ``GradientEngine.fallbacks``; there is no gradient."""
        return {}


def untrained_activations(
    losses: LossFunction, parameters: Parameters, scales: Parameters | None = None
) -> Activations:
    """Return the activations of the same network with the weights that it is built with."""
    network = cast(LossesAt, losses).model.network
    like = {**cast(LossesAt, losses).fixed, **parameters}
    fresh = untrained(network)
    return Activations(losses, {n: v.to(like[n].device, like[n].dtype) for n, v in fresh.items()})


def untrained(network: nn.Module, seed: int = 0) -> Parameters:
    """Return parameters as if the network had just been built, by name.

    Each module's own ``reset_parameters`` draws them; a parameter of a module without one is drawn
    from a normal distribution of standard deviation 0.02.
    """
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        fresh.cpu()
        for module in fresh.modules():
            reset: Callable[[], Any] | None = getattr(module, "reset_parameters", None)
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
            if reset is not None:
                reset()
    return {name: parameter.detach() for name, parameter in fresh.named_parameters()}


def later_layers(network: nn.Module) -> list[nn.Module]:
    """Return the up blocks, or the second half of the longest list of blocks.

    Raises:
        InputError: If there is neither.
    """
    up = [module for name, module in network.named_modules() if _UP_BLOCK.search(name)]
    if up:
        return up
    lists = [m for m in network.modules() if isinstance(m, (nn.ModuleList, nn.Sequential))]
    longest = max(lists, key=len, default=nn.ModuleList())
    blocks = list(longest) or list(network.children())
    if not blocks:
        raise InputError(
            f"{type(network).__name__} has neither up_blocks nor a list of blocks: expected layers "
            "whose activations can be compared. Use a method on gradients, such as retrac-ridge"
        )
    return blocks[len(blocks) // 2 :]


def _keeping(seen: list[Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.extend(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.dim())

    return keep
