"""Adds up what the layer calls of one backward pass contribute, and hands the sums on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from retrac_plugin.gradients.consumers.consumer import Consumer, stream
from retrac_plugin.gradients.contributions import Contribution, Dense, OuterProducts
from retrac_plugin.gradients.layout import Layout, kernel_last
from retrac_plugin.gradients.tracking import Tracked


@dataclass(eq=False)
class _Page:
    """Columns that wait until all that belongs to them has come.

    A norm needs a parameter's whole gradient, so one that is used several times waits for its last
    use; and small parameters wait for each other, to be handed on as one block.
    """

    first: int
    stop: int
    waiting: int = 0
    sums: Tensor | None = field(default=None, repr=False)


class Collector:
    """The receiver of one backward pass.

    Args:
        layout: The columns of a row.
        consumer: Who gets the sums.
        rows: Which of the consumer's rows this pass makes.
        uses: How often each watched tensor was used in the forward pass.
        like: A tensor of a row's type and device.
    """

    def __init__(
        self,
        layout: Layout,
        consumer: Consumer,
        rows: slice,
        uses: Counter[Tracked],
        like: Tensor,
    ) -> None:
        self.layout, self.consumer, self.like = layout, consumer, like
        self.rows, self._slice = rows.stop - rows.start, rows
        self._derived = {t: _Page(0, t.value.numel(), n) for t, n in uses.items() if not t.name}
        counts: Counter[str] = Counter()
        for tracked, count in uses.items():
            # What is derived from parameters adds to each of them once, when it is complete.
            counts.update(
                {tracked.name: count} if tracked.name else dict.fromkeys(tracked.roots, 1)
            )
        self._pages = self._make_pages(counts)

    def _make_pages(self, counts: Counter[str]) -> dict[str, _Page]:
        columns = self.layout.columns
        shared = [[name] for name, count in counts.items() if count > 1]
        pages: dict[str, _Page] = {}
        for names in shared + self.layout.pages:  # a small one that is shared joins its page
            page = _Page(columns[names[0]].start, columns[names[-1]].stop)
            page.waiting = sum(counts[name] for name in names)
            pages |= dict.fromkeys(names, page)
        return pages

    def add(self, tracked: Tracked, contribution: Contribution) -> None:
        """See ``Receiver.add``."""
        if tracked.name is None:
            page = self._derived[tracked]
            self._add_to(page, 0, contribution)
            if page.waiting == 0:
                self._lead_back(tracked, page)
        else:
            self._add_named(tracked.name, contribution)

    def finish(self) -> None:
        """Hand on what still waits for uses that the loss turned out not to depend on."""
        for tracked, page in self._derived.items():
            if page.waiting:
                self._lead_back(tracked, page)
        for page in set(self._pages.values()):
            if page.waiting:
                self._release(page)

    def _add_named(self, name: str, contribution: Contribution) -> None:
        columns, page = self.layout.columns[name], self._pages.get(name)
        if page is not None:
            self._add_to(page, columns.start - page.first, contribution)
            if page.waiting == 0:
                self._release(page)
        elif isinstance(contribution, OuterProducts):
            self.consumer.outer(self._slice, columns, contribution)
        else:
            stream(self.consumer, self._slice, columns, contribution)

    def _add_to(self, page: _Page, start: int, contribution: Contribution) -> None:
        if page.sums is None:
            page.sums = self.like.new_zeros(self.rows, page.stop - page.first)
        for first, block in contribution.blocks():
            page.sums.narrow(1, start + first, block.shape[1]).add_(block)
        page.waiting -= 1

    def _release(self, page: _Page) -> None:
        if page.sums is not None:
            self.consumer.block(self._slice, slice(page.first, page.stop), page.sums)
        page.sums, page.waiting = None, 0

    def _lead_back(self, tracked: Tracked, page: _Page) -> None:
        """Lead the gradient of a derived tensor back to the parameters it came from."""
        if page.sums is None:
            return
        rows = kernel_last(page.sums, tracked.value.shape).to(tracked.value.dtype)
        page.sums, page.waiting = None, 0
        gradients = torch.autograd.grad(
            [tracked.graph],
            [root.graph for root in tracked.roots.values()],
            [rows],
            is_grads_batched=True,
            retain_graph=True,
            allow_unused=True,
        )
        for name, gradient in zip(tracked.roots, gradients, strict=True):
            if gradient is not None:
                self._add_named(name, Dense(gradient))
