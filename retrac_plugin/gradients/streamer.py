"""Leads one batch through a model and its gradients, piece by piece, to a consumer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients import row_by_row
from retrac_plugin.gradients.capture import Capture, Signature
from retrac_plugin.gradients.collector import Collector
from retrac_plugin.gradients.consumers.consumer import Consumer
from retrac_plugin.gradients.engine import Batch, Parameters
from retrac_plugin.gradients.fallbacks import Fallbacks, first_line
from retrac_plugin.gradients.layout import Layout, flat, row_dtype
from retrac_plugin.gradients.losses import Losses, widened
from retrac_plugin.gradients.recomputation import refusing_recomputation
from retrac_plugin.gradients.tracking import Watched
from retrac_plugin.gradients.vmapped import VmapEngine

Chunk = tuple[Tensor, dict[str, Tensor]]
"""Losses ``[row, draw]`` and gradients by name, ``[row, *shape]``."""


class Streamer:
    """Streams gradients: by layer rules, else by ``vmap(grad)``, else sample by sample.

    Args:
        losses: The per-sample losses as a function of the attributed parameters.
        parameters: The attributed parameters, all of them real and without history.
        fallbacks: What is known of parameters that no rule takes.

    Attributes:
        layout: The columns of a row.
        like: An empty tensor of a row's type and device.
    """

    def __init__(
        self, losses: Losses, parameters: Parameters, fallbacks: Fallbacks | None = None
    ) -> None:
        self.losses, self.parameters = losses, parameters
        self.layout = Layout(self.parameters)
        self.fallbacks = fallbacks or Fallbacks()
        first = next(iter(parameters.values()))
        self.like = first.new_empty(0, dtype=row_dtype(parameters))
        self._signatures: dict[str, list[Signature]] = {}

    def widened(self) -> Streamer:
        """Return a streamer in float32 where this one is in less; what it finds holds for both."""
        return Streamer(self.losses.widened(), widened(dict(self.parameters)), self.fallbacks)

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
        by_rules = partial(self._stream_by_rules, batch, draws, consumer, rows)
        losses = self.losses.holding(self.parameters, by_rules)
        if self.fallbacks.reasons:
            losses = torch.cat(list(self._stream_fallbacks(batch, draws, consumer, rows)))
        if losses is None:
            raise GradientError("there is no parameter to take a gradient of")
        return losses

    def _stream_by_rules(
        self, batch: Batch, draws: int, consumer: Consumer, rows: slice
    ) -> Tensor | None:
        captured = self._forward(batch)
        if captured is None:
            return None
        losses, capture = captured
        collector = Collector(self.layout, consumer, rows, capture.uses, self.like)
        capture.receiver = collector
        _backward(losses.sum() / draws, capture.anchor)
        collector.finish()
        return losses.detach().view(-1, draws)

    def _forward(self, batch: Batch) -> tuple[Tensor, Capture] | None:
        """Run the model, again if some parameters turn out to need another way."""
        reasons = self.fallbacks.reasons
        while watched := {n: v for n, v in self.parameters.items() if n not in reasons}:
            try:
                losses, capture = self._captured(batch, watched)
            except Exception as error:  # whatever a network may raise where its calls are watched
                self.fallbacks.add(watched, f"layer rules do not suit it: {first_line(error)}")
                return None
            refused = capture.refused or self._used_otherwise(capture.signatures)
            if not refused:
                return losses, capture
            reasons |= refused
        return None

    def _captured(self, batch: Batch, watched: Mapping[str, Tensor]) -> tuple[Tensor, Capture]:
        samples = tree_leaves(batch)[0].shape[0]
        capture = Capture(Watched(watched), samples, self.like.device)
        with torch.enable_grad(), capture:
            losses = self.losses(self.parameters, batch)
        if losses.shape != (samples,):
            raise GradientError(
                f"the losses have the shape {tuple(losses.shape)}, expected one for each of "
                f"the {samples} samples"
            )
        return losses, capture

    def _used_otherwise(self, signatures: dict[str, list[Signature]]) -> dict[str, str]:
        """Return the parameters whose uses differ from those that were checked first."""
        if not self._signatures:
            self._signatures = signatures
        names = signatures.keys() | self._signatures.keys()
        return {
            name: "its use differs from batch to batch"
            for name in names - self.fallbacks.reasons.keys()
            if signatures.get(name) != self._signatures.get(name)
        }

    def _stream_fallbacks(
        self, batch: Batch, draws: int, consumer: Consumer, rows: slice
    ) -> Iterator[Tensor]:
        start = rows.start
        for losses, gradients in self._chunks(batch, draws):
            place = slice(start, start + len(losses))
            for name, gradient in gradients.items():
                consumer.block(place, self.layout.columns[name], flat(gradient))
            yield losses
            start = place.stop

    def _chunks(self, batch: Batch, draws: int) -> Iterator[Chunk]:
        """Yield the rows of a batch, of the parameters without a rule, by whatever takes them."""
        names, done = list(self.fallbacks.reasons), 0
        try:
            if self.fallbacks.row_by_row is None:
                for chunk in self._vmapped(names).chunks(batch, draws):
                    yield chunk
                    done += len(chunk[0])
                return
        except Exception as error:  # whatever torch.func cannot take
            self.fallbacks.give_up_vmap(first_line(error))
        rest = row_by_row.pick(batch, slice(done * draws, None))
        yield from row_by_row.chunks(self.losses, self.parameters, names, rest, draws)

    def _vmapped(self, names: list[str]) -> VmapEngine:
        def losses(values: Parameters, row: Batch) -> Tensor:
            return self.losses({**self.parameters, **values}, row)

        return VmapEngine(losses, {name: self.parameters[name] for name in names})


def _backward(loss: Tensor, anchor: Tensor) -> None:
    if not loss.requires_grad:  # no parameter had a part in it
        return
    with refusing_recomputation():
        torch.autograd.grad(loss, [anchor], allow_unused=True)
