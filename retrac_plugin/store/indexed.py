"""The extreme samples of a store's questions by an index, which the first question builds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from retrac_plugin.attribution.scores import Top
from retrac_plugin.data.encoded import digest
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Bank
from retrac_plugin.store.answering import score_parts
from retrac_plugin.store.index import About, Index
from retrac_plugin.store.questions import OfPaper, Question
from retrac_plugin.store.store import Store
from retrac_plugin.store.top_lists import Extremes, Find, Found


def by_index(store: Store, tell: Callable[[About], object]) -> Find:
    """Return what finds extreme samples by an index that is kept in the store.

    Args:
        store: The store.
        tell: Told of each index that is asked.
    """

    def find(question: Question, found: Found, train: int, k: int) -> Extremes:
        if not isinstance(question, OfPaper):
            raise InputError(
                "an index: expected diffusion-tracin or diffusion-retrac, whose scores are inner "
                "products of the rows that are kept. Ask other methods without it"
            )
        folder = store.folder / "indexes" / _name(question, found)
        index = (
            Index(folder)
            if Index.is_in(folder)
            else Index.build(folder, _of(question, found), train)
        )
        tell(index.about)
        queries = _queries(question, found)
        lowest = index.highest(-queries, k)
        return Extremes(index.highest(queries, k), Top(lowest.indices, -lowest.values))

    return find


class _SideBySide:
    """In the place of a method: the rows whose inner products with the queries' are its scores."""

    def __init__(self, question: OfPaper) -> None:
        self.question = question

    def score(self, bank: Bank) -> Tensor:
        """Return the training samples' rows, ``[some, checkpoint * d]``."""
        rescale = self.question.attributor.method.rescale
        parts = [
            pair.train.features * (root * rescale(pair.train.norms))[:, None]
            for root, pair in zip(_roots(self.question, bank), bank.values(), strict=True)
        ]
        return torch.cat(parts, dim=1)


def _of(
    question: OfPaper, found: Found
) -> Callable[[Tensor | None], Iterator[tuple[Tensor, Tensor]]]:
    def rows(only: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        for which, part, _ in score_parts(_SideBySide(question), found, only):
            yield which, part.cpu()

    return rows


def _queries(question: OfPaper, found: Found) -> Tensor:
    parts = [
        root * stored.queries.features
        for root, stored in zip(_roots(question, found), found.values(), strict=True)
    ]
    return torch.cat(parts, dim=1)


def _roots(question: OfPaper, found: Found | Bank) -> list[float]:
    checkpoints = question.setting.checkpoints
    return [math.sqrt(checkpoints[feature.checkpoint].step_size) for feature in found]


def _name(question: OfPaper, found: Found) -> str:
    """Return a digest of all that decides an index."""
    kinds = [stored.whole.rows.kind.digest for stored in found.values()]
    places = [stored.whole.places.numpy().tobytes() for stored in found.values()]
    roots = [repr(root) for root in _roots(question, found)]
    return digest(question.attributor.method.name, *kinds, *roots, *places)[:16]
