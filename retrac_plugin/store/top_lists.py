"""The extreme training samples of each query, kept while a store is read: no matrix of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.highest import Highest
from retrac_plugin.attribution.scores import Scores, Top
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Feature
from retrac_plugin.store.answering import Stored, open_features, score_parts
from retrac_plugin.store.questions import Question, question_of
from retrac_plugin.store.store import Store

Found = Mapping[Feature, Stored]


class Extremes(NamedTuple):
    """Of each query, the samples at both ends."""

    proponents: Top
    opponents: Top


Find = Callable[[Question, Found, int, int], Extremes]
"""``(method, its features, training samples, k) -> the k highest and lowest of each query``."""


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
    return scanned(question, open_features(store, question, *sources), len(sources[0]), k)


def scanned(question: Question, found: Found, train: int, k: int) -> Extremes:
    """Find the extreme samples by reading all rows; see ``Find``."""
    if not 1 <= k <= train:
        raise InputError(f"k must lie between 1 and the {train} samples, got {k}")
    highest, lowest = Highest(k), Highest(k)
    for which, part, _ in score_parts(question, found):
        highest.add(which, part)
        lowest.add(which, -part)
    below = lowest.top()
    return Extremes(highest.top(), Top(below.indices, -below.values))


def listed_from(
    store: Store,
    attributors: Mapping[str, Any],
    train: Examples,
    queries: Examples,
    k: int,
    find: Find = scanned,
) -> dict[str, Scores]:
    """Return scores, by method, of those training samples alone that are on some query's list.

    The columns are the same for all methods, and ``Scores.train_positions`` says whose they are: of
    each query and each method the ``k`` highest and the ``k`` lowest samples.

    Args:
        store: Where the training set's rows are.
        attributors: By the name of the method.
        train: The training set.
        queries: The images to explain.
        k: How many at either end of each list.
        find: What finds them.

    Raises:
        InputError: If a method takes the training set whole, or there are fewer training samples.
        RetracError: See ``answering.open_features``.
    """
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    asked: dict[str, tuple[Question, Found, Extremes]] = {}
    for name, attributor in attributors.items():
        question = question_of(attributor)
        if question is None:
            raise InputError(f"{name} scores all training images at once: ask for it by itself")
        found = open_features(store, question, *sources)
        asked[name] = question, found, find(question, found, len(sources[0]), k)
    tops = [top for _, _, extremes in asked.values() for top in extremes]
    members = torch.unique(torch.cat([top.indices.flatten() for top in tops]))
    return {
        name: _scores(store, question, found, members, len(sources[0]))
        for name, (question, found, _) in asked.items()
    }


def _scores(
    store: Store,
    question: Question,
    found: Found,
    members: Tensor,
    train: int,
) -> Scores:
    queries = len(next(iter(found.values())).queries.features)
    values = question.setting.zeros(queries, len(members))
    for which, part, _ in score_parts(question, found, members):
        values[:, which.to(values.device)] = part
    about = {**question.about(), "store": str(store.folder), "training_images": train}
    return Scores(values, about=about, train_positions=members)
