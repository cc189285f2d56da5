"""The extreme training samples of each query, kept while a store is read: no matrix of scores."""

from __future__ import annotations

from typing import NamedTuple

from retrac_plugin.attribution.highest import Highest
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
