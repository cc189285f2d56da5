"""Leads one batch through a model and its gradients, piece by piece, to a consumer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointError

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.capture import Capture, Signature
from retrac_plugin.gradients.collector import Collector
from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.engine import Batch, LossFunction, Parameters
from retrac_plugin.gradients.layout import Layout, flat
from retrac_plugin.gradients.tracking import Watched
from retrac_plugin.gradients.vmapped import VmapEngine


class Streamer:
    """Streams gradients: by layer rules where there are any, else by ``vmap(grad)``.

    Args:
        losses: The per-sample losses as a function of the attributed parameters.
        parameters: The attributed parameters.

    Attributes:
        layout: The columns of a row.
        fallbacks: The parameters that take ``vmap(grad)``, with the reason, by name.
        like: An empty tensor of a row's type and device.
    """

    def __init__(self, losses: LossFunction, parameters: Parameters) -> None:
        self.losses = losses
        self.parameters = {name: value.detach() for name, value in parameters.items()}
        self.layout = Layout(self.parameters)
        self.fallbacks: dict[str, str] = {}
        self.like = _empty_like_all(list(self.parameters.values()))
        self._signatures: dict[str, list[Signature]] = {}

    def stream(self, batch: Batch, draws: int, consumer: Consumer, rows: slice) -> Tensor:
        """Hand the gradient of every row of a batch to ``consumer``; return losses ``[row, draw]``.

        Args:
            batch: ``row * draw`` samples, the draws of a row side by side.
            draws: How many consecutive losses are averaged into one row.
            consumer: Who gets the gradients.
            rows: Which of the consumer's rows they are.

        Raises:
            GradientError: If the model's gradients cannot be taken sample by sample.
        """
        losses: Tensor | None = None
        captured = self._forward(batch)
        if captured is not None:
            losses, capture = captured
            capture.receiver = collector = Collector(
                self.layout, consumer, rows, capture.uses, self.like
            )
            _backward(losses.sum() / draws, capture.anchor)
            collector.finish()
            losses = losses.detach().view(-1, draws)
        if self.fallbacks:
            losses = torch.cat(list(self._stream_fallbacks(batch, draws, consumer, rows)))
        if losses is None:
            raise GradientError("there is no parameter to take a gradient of")
        return losses

    def _forward(self, batch: Batch) -> tuple[Tensor, Capture] | None:
        """Run the model, again if some parameters turn out to need another way."""
        samples = tree_leaves(batch)[0].shape[0]
        while watched := {n: v for n, v in self.parameters.items() if n not in self.fallbacks}:
            capture = Capture(Watched(watched), samples, self.like.device)
            with torch.enable_grad(), capture:
                losses = self.losses(self.parameters, batch)
            if losses.shape != (samples,):
                raise GradientError(
                    f"the losses have the shape {tuple(losses.shape)}, expected one for each of "
                    f"the {samples} samples"
                )
            refused = capture.refused or self._used_otherwise(capture.signatures)
            if not refused:
                return losses, capture
            self.fallbacks |= refused
        return None

    def _used_otherwise(self, signatures: dict[str, list[Signature]]) -> dict[str, str]:
        """Return the parameters whose uses differ from those that were checked first."""
        if not self._signatures:
            self._signatures = signatures
        names = signatures.keys() | self._signatures.keys()
        return {
            name: "its use differs from batch to batch"
            for name in names - self.fallbacks.keys()
            if signatures.get(name) != self._signatures.get(name)
        }

    def _stream_fallbacks(
        self, batch: Batch, draws: int, consumer: Consumer, rows: slice
    ) -> Iterator[Tensor]:
        some = {name: self.parameters[name] for name in self.fallbacks}

        def losses(values: Parameters, row: Batch) -> Tensor:
            return self.losses({**self.parameters, **values}, row)

        start = rows.start
        for chunk_losses, gradients in VmapEngine(losses, some).chunks(batch, draws):
            place = slice(start, start + len(chunk_losses))
            for name, gradient in gradients.items():
                consumer.block(place, self.layout.columns[name], flat(gradient))
            yield chunk_losses
            start = place.stop


def _backward(loss: Tensor, anchor: Tensor) -> None:
    if not loss.requires_grad:  # no parameter had a part in it
        return
    try:
        torch.autograd.grad(loss, [anchor], allow_unused=True)
    except CheckpointError as error:
        raise GradientError(
            "gradient checkpointing runs layers a second time, out of sight: switch it off "
            "(for models of diffusers: network.disable_gradient_checkpointing())"
        ) from error


def _empty_like_all(values: list[Tensor]) -> Tensor:
    """Return an empty tensor whose type holds all of theirs."""
    empty = values[0].new_empty(0)
    for value in values:
        empty = empty.to(torch.promote_types(empty.dtype, value.dtype))
    return empty
