"""A network's last layer as a linear one on vectors, which Captum's fast classes need.

They take the gradient of a layer's weight for one outer product, of the layer's input and the
loss's gradient at its output. That is so for a linear layer on a vector. A convolution is a linear
layer on the patches of its input, at each place one; so is a linear layer on tokens, at each token.
Its gradient is the sum over places, and inner products of sums are sums of inner products: taken
place by place, the classes are right again, at the price of all pairs of places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import default_collate

from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum.job import Job
from retrac_plugin.frameworks.drawn_rows import as_rows
from retrac_plugin.frameworks.nesting import nested
from retrac_plugin.frameworks.side_loaders import Side

Layer = nn.Conv2d | nn.Linear
Seen = tuple[Layer, Tensor, Tensor]
"""A layer, its input, its output."""


@dataclass(frozen=True)
class Places:
    """The places of some samples' draws, as a batch for Captum.

    Attributes:
        inputs: The layer's input at each place, ``[sample * draw * place, in]``.
        labels: What the output should be there, and the weight of an element's loss beside it,
            ``[sample * draw * place, out + 1]``.
        draws: How many draws a sample has.
        places: How many places a draw has.
    """

    inputs: Tensor
    labels: Tensor
    draws: int
    places: int

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """As Captum takes it."""
        return self.inputs, self.labels

    def by_sample(self, values: Tensor) -> Tensor:
        """Return the mean over a sample's draws of the sum over their places, ``[sample, ...]``."""
        return values.reshape(-1, self.draws, self.places, values.shape[1]).sum(2).mean(1)


class SumOfPlaces:
    """``(outputs, labels) -> scalar``, the sum over places of the elements' weighted losses."""

    reduction = "sum"

    def __init__(self, element_loss: Any) -> None:
        self.element_loss = element_loss

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum."""
        targets, weights = labels[:, :-1], labels[:, -1:]
        loss: Tensor = (weights * self.element_loss(outputs, targets)).sum()
        return loss


class AtLastLayer:
    """One checkpoint's last layer.

    Args:
        job: What is scored.
        position: The checkpoint's, in the job's series.
    """

    def __init__(self, job: Job, position: int) -> None:
        self.job, self.position = job, position
        checkpoint = job.checkpoints[position]
        self.values = load_into(job.model.network, checkpoint, job.core.device)

    def linear(self, layer: Layer) -> nn.Linear:
        """Return a linear layer on patches with the weights of ``layer`` at the checkpoint."""
        names = {module: name for name, module in self.job.model.network.named_modules()}
        weight = self.values[f"{names[layer]}.weight"].flatten(1)
        made = nn.Linear(weight.shape[1], weight.shape[0], layer.bias is not None)
        with torch.no_grad():
            made.weight.copy_(weight)
            if layer.bias is not None:
                made.bias.copy_(self.values[f"{names[layer]}.bias"])
        return made.to(weight)

    def places(self, side: Side, start: int) -> Places:
        """Return the places of a network pass full of samples, from number ``start`` on.

        Raises:
            InputError: If the network's last layer is none of which this is right.
        """
        _, places = self._look(side, start)
        return places

    def layer(self) -> Layer:
        """Return the network's last layer."""
        layer, _ = self._look(self.job.queries, 0)
        return layer

    @torch.no_grad()
    def _look(self, side: Side, start: int) -> tuple[Layer, Places]:
        """Lead samples through the network, and return what its last layer saw."""
        model, device = self.job.model, self.job.core.device
        ids = side.ids[start : start + side.at_once]
        items = default_collate([side.drawn[i] for i in ids])
        dtype = self.values[model.attributed_names()[0]].dtype
        rows = as_rows([part.to(device) for part in items], self.position, dtype)
        conditions = nested(self.job.conditions, rows.conditions)
        batch = model.diffuse(rows.samples, rows.timesteps, rows.noise, conditions)

        def call(*args: Any, **kwargs: Any) -> Any:
            return functional_call(model.network, self.values, args, kwargs)

        with _watched(model.network) as seen:
            prediction = model.predict(call, batch.noisy, batch.timesteps, batch.conditions)
        layer, entered = _checked(model.network, seen, prediction)
        inputs, targets = _patches(layer, entered), _by_place(batch.target, layer)
        weights = (batch.weight / prediction[0].numel())[:, None, None]
        labels = torch.cat([targets, weights.expand(*targets.shape[:2], 1)], dim=2)
        counts = side.draws_each, inputs.shape[1]
        return layer, Places(inputs.flatten(0, 1), labels.flatten(0, 1), *counts)


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[Seen]]:
    """Yield a list that holds the last ``(layer, input, output)`` of the layers that could do."""
    seen: list[Seen] = []

    def note(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[:] = [(layer, inputs[0], output)]

    layers = [m for m in network.modules() if isinstance(m, Layer)]
    # Before the user's hooks, which may change what a layer returned.
    handles = [layer.register_forward_hook(note, prepend=True) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _checked(network: nn.Module, seen: list[Seen], prediction: Tensor) -> tuple[Layer, Tensor]:
    """Return the last layer and its input.

    Raises:
        InputError: If the prediction is not what a plain convolution or linear layer returned.
    """
    what = type(network).__name__
    if not seen or not torch.equal(seen[0][2], prediction):
        raise InputError(
            f"Captum's fast classes need a network that returns what its last layer does, a "
            f"convolution or a linear layer, and {what} does not. Use captum-tracin"
        )
    layer, entered, _ = seen[0]
    if isinstance(layer, nn.Conv2d) and not (
        layer.groups == 1 and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)
    ):
        raise InputError(
            f"Captum's fast classes see convolutions of one group, padded by zeros on all sides "
            f"alike; the last layer of {what} is {layer}. Use captum-tracin"
        )
    if not layer.weight.requires_grad:
        raise InputError(
            f"Captum's fast classes see the last layer alone, and that of {what} is frozen"
        )
    return layer, entered


def _patches(layer: Layer, entered: Tensor) -> Tensor:
    """Return what enters the layer at each place, ``[row, place, in]``."""
    if isinstance(layer, nn.Linear):
        return entered.reshape(len(entered), -1, entered.shape[-1])
    patches = functional.unfold(
        entered,
        layer.kernel_size,
        layer.dilation,
        cast(tuple[int, ...], layer.padding),
        layer.stride,
    )
    return patches.transpose(1, 2)


def _by_place(target: Tensor, layer: Layer) -> Tensor:
    """Return what should leave the layer at each place, ``[row, place, out]``."""
    if isinstance(layer, nn.Linear):
        return target.reshape(len(target), -1, target.shape[-1])
    return target.flatten(2).transpose(1, 2)
