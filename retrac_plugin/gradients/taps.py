"""Autograd functions that hand gradients over while the backward pass goes by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from retrac_plugin.gradients.contributions import Contribution, Dense
from retrac_plugin.gradients.rules.call import LayerCall, sum_to_rows
from retrac_plugin.gradients.tracking import Tracked, Watched


class Receiver(Protocol):
    """Where contributions go."""

    @property
    def rows(self) -> int:
        """How many rows the samples make."""

    def add(self, tracked: Tracked, contribution: Contribution) -> None:
        """Take what one use of a watched tensor adds to its gradient."""


class Destination(Protocol):
    """Where taps look up what to do, once the backward pass runs."""

    receiver: Receiver
    watched: Watched


class _LayerTap(torch.autograd.Function):
    """A layer's call. ``anchor`` requires a gradient, so the backward pass comes by for certain."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, destination: Destination, call: LayerCall, inputs: Tensor
    ) -> Tensor:
        output, kept = call.forward(inputs)
        ctx.save_for_backward(inputs, *kept)
        ctx.destination, ctx.call = destination, call
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *kept = ctx.saved_tensors
        destination: Destination = ctx.destination
        gradient = None
        if ctx.needs_input_grad[3]:
            gradient = ctx.call.input_gradient(inputs, tuple(kept), grad)
        # Without their history: a receiver may keep them after the graph is gone.
        inputs = inputs.detach()
        for parameter, contribution in ctx.call.contributions(
            inputs, tuple(kept), grad, destination.receiver.rows
        ):
            tracked = destination.watched.find(parameter)
            if tracked is not None:
                destination.receiver.add(tracked, contribution)
        return None, None, None, gradient


class _BroadcastTap(torch.autograd.Function):
    """A parameter with a dimension for the samples: the identity."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, destination: Destination, tracked: Tracked, view: Tensor
    ) -> Tensor:
        ctx.destination, ctx.tracked = destination, tracked
        return view.view_as(view)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        receiver: Receiver = ctx.destination.receiver
        rows = sum_to_rows(grad, receiver.rows)
        receiver.add(ctx.tracked, Dense(rows.reshape(-1, *ctx.tracked.value.shape)))
        return None, None, None, None


tap_layer: Callable[[Tensor, Destination, LayerCall, Tensor], Tensor] = _LayerTap.apply
tap_broadcast: Callable[[Tensor, Destination, Tracked, Tensor], Tensor] = _BroadcastTap.apply
