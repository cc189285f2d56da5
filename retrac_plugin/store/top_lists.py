"""The extreme training samples of each query, kept while a store is read: no matrix of scores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.scores import Top
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.store.answering import open_features, score_parts
from retrac_plugin.store.questions import Question
from retrac_plugin.store.store import Store


class Extremes(NamedTuple):
    """Of each query, the samples at both ends."""

    proponents: Top
    opponents: Top


def extremes_from(
    store: Store, question: Question, train: Examples, queries: Examples, k: int
) -> Extremes:
    """Return each query's ``k`` highest and lowest training samples; all queries share one scan.

    In memory are the query side, a piece of a shard and its scores, and the lists.

    Args:
        store: Where the training set's rows are.
        question: The method.
        train: The training set.
        queries: The images to explain.
        k: How many at either end.

    Raises:
        InputError: If there are fewer training samples.
        RetracError: See ``answering.open_features``.
    """
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    if not 1 <= k <= len(sources[0]):
        raise InputError(f"k must lie between 1 and the {len(sources[0])} samples, got {k}")
    found = open_features(store, question, *sources)
    highest, lowest = Highest(k), Highest(k)
    for which, part, _ in score_parts(question, found):
        highest.add(which, part)
        lowest.add(which, -part)
    below = lowest.top()
    return Extremes(highest.top(), Top(below.indices, -below.values))


GATHERED = 1024
"""Samples whose scores are gathered before lists are made of them."""


class Highest:
    """The highest of the scores that pass by, in whatever order they come.

    Equal scores are listed by place, the first one first, so that no order of the pieces, and no
    way of cutting them, changes a list.

    Args:
        k: How many.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self._top: Top | None = None
        self._waiting: list[Top] = []

    def add(self, which: Tensor, scores: Tensor) -> None:
        """Take in some scores.

        Args:
            which: Places in the training set, ``[some]``; or ``[query, some]``, such as the lists
                of another part of it.
            scores: ``[query, some]``.
        """
        self._waiting.append(Top(which.to(scores.device).expand_as(scores), scores))
        if sum(each.values.shape[1] for each in self._waiting) >= GATHERED:
            self._merge()

    def top(self) -> Top:
        """Return the lists, the highest first.

        Raises:
            ValueError: If nothing came.
        """
        self._merge()
        if self._top is None:
            raise ValueError("no scores: expected at least one piece")
        return self._top

    def _merge(self) -> None:
        pieces = [*self._waiting, *([] if self._top is None else [self._top])]
        if not self._waiting:
            return
        self._waiting = []
        indices, values = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
        if self._top is not None and self._top.values.shape[1] == self.k:
            wanted = (values >= self._top.values[:, -1:]).any(0)  # others reach no query's list
            indices, values = indices[:, wanted], values[:, wanted]
        by_place = indices.argsort(dim=1)
        indices, values = indices.gather(1, by_place), values.gather(1, by_place)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self._top = Top(indices.gather(1, order), values.gather(1, order))
