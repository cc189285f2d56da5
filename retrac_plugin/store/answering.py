"""Answers from a store: the queries are led through the network, the training set is only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.features import KEPT, Side
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.methods.cost import Cost
from retrac_plugin.methods.features import Feature, Pair
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.store.checking import check_row
from retrac_plugin.store.contents import row_keys
from retrac_plugin.store.describing import kind_of
from retrac_plugin.store.key_list import KeyList
from retrac_plugin.store.questions import Question, Scoring
from retrac_plugin.store.rows import Rows
from retrac_plugin.store.store import Store
from retrac_plugin.store.whole import OnDisk

CHUNK = 2**19
"""Numbers of rows that are made float32 at a time: what a processor's cache holds."""

ROWS_A_QUERY = 4
"""At least so many rows at a time for each query, whose rows are read anew for each piece."""

_FREE = Cost(0.0, 0)

Keys = dict[Draws, KeyList]
"""Of the training samples, by the draws that their rows are of."""


class Stored(NamedTuple):
    """One feature of both sides, the training set's on disk."""

    whole: OnDisk
    queries: Side


def open_features(
    store: Store, question: Question, train: ExampleSource, queries: ExampleSource
) -> dict[Feature, Stored]:
    """Compute the queries' side of what a question needs, and find the training set's.

    Raises:
        RetracError: If the store lacks rows, or they are of something else; or if the queries, or a
            gradient, cannot be used.
    """
    setting, found, keys = question.setting, {}, Keys()
    needs = question.needs()
    check_deterministic(setting.model.network)
    with setting.bar(len(needs) * len(queries), "queries") as bar:
        for feature in needs:
            at = feature.at(setting)
            rows, places = rows_of(store, at, feature, train, keys)
            theirs = question.query_side(at, feature, queries)
            found[feature] = Stored(OnDisk(rows, places, theirs.features), theirs)
            bar.update(len(queries))
            del at  # or this checkpoint's weights stay while the next one loads
    return found


def rows_of(
    store: Store, at: CheckpointPass, feature: Feature, train: ExampleSource, keys: Keys
) -> tuple[Rows, Tensor]:
    """Return the rows of a feature, and the place of each training sample's.

    Args:
        store: The store; it remembers the kinds of which a row was computed again.
        at: The feature's checkpoint.
        feature: The feature.
        train: The training set.
        keys: Those of its samples that are known already, by draws.

    Raises:
        InputError: If the store lacks some, or a row comes out otherwise today.
    """
    rows = store.rows_of(kind_of(at, feature))
    if feature.draws not in keys:
        keys[feature.draws] = row_keys(train, feature.draws)
    places = rows.places(keys[feature.draws])
    if rows.kind.digest not in store.checked:
        check_row(store, rows, places, at, feature, train)
        store.checked.add(rows.kind.digest)
    return rows, places


def side_from(store: Store) -> Callable[[CheckpointPass, Feature, ExampleSource], tuple[Side, int]]:
    """Return what gives the training set's side of features from a store, whole and in memory."""
    keys = Keys()

    def stored(at: CheckpointPass, feature: Feature, train: ExampleSource) -> tuple[Side, int]:
        rows, places = rows_of(store, at, feature.of_train, train, keys)
        at.tick(len(train))
        own = torch.promote_types(at.dtype, torch.float32)
        return Side(*(part.to(at.device, own) for part in rows.side(places))), 0

    return stored


def score_parts(
    question: Scoring, found: Mapping[Feature, Stored], only: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield which of the training set ``[some]``, their scores ``[query, some]``, and their norms.

    The store is read once, from its first row to its last, and no more than a piece of a shard is
    in memory.

    Args:
        question: The method.
        found: Its features.
        only: Positions of training samples ``[sample]``; those alone are scored, and it is said
            which of these each is.
    """
    numbers = sum(stored.queries.features[0].numel() for stored in found.values())
    wholes = [stored.whole for stored in found.values()]
    asked = max(len(stored.queries.features) for stored in found.values())
    at_once = max(1, CHUNK // numbers, ROWS_A_QUERY * asked)
    for which, sides in _together(wholes, at_once, only):
        bank = {}
        for (feature, (whole, queries)), own in zip(found.items(), sides, strict=True):
            moved = Side(*(part.to(queries.features) for part in own))
            bank[feature] = Pair(moved, _FREE, queries, _FREE, whole)
        norms = torch.stack([pair.train.norms for pair in bank.values()])
        yield which, question.score(bank), norms


def _together(
    wholes: Sequence[OnDisk], at_once: int, only: Tensor | None
) -> Iterator[tuple[Tensor, Sequence[Side]]]:
    """Yield which of the training set, and their rows of every kind."""
    first, *others = wholes
    places = [whole.places if only is None else whole.places[only] for whole in wholes]
    if all(first.lies_as(other) for other in others):
        listed = zip(wholes, places, strict=True)
        sides = [whole.rows.parts(own, at_once) for whole, own in listed]
        for parts in zip(*sides, strict=True):
            yield parts[0][0], [side for _, side in parts]
        return
    for which, side in first.rows.parts(places[0]):
        rest = zip(others, places[1:], strict=True)
        yield which, [side, *(other.rows.side(own[which]) for other, own in rest)]


def scores_from(store: Store, question: Question, train: Examples, queries: Examples) -> Scores:
    """Return the influence of every training sample on every query, from a store.

    Args:
        store: Where the training set's rows are.
        question: The method.
        train: The training set, or as much of it as is to be attributed to.
        queries: The images to explain.

    Raises:
        RetracError: See ``open_features``.
    """
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    found = open_features(store, question, *sources)
    values = question.setting.zeros(len(sources[1]), len(sources[0]))
    norms = question.setting.zeros(len(found), len(sources[0]))
    for which, part, of_rows in score_parts(question, found):
        values[:, which.to(values.device)] = part
        norms[:, which.to(values.device)] = of_rows
    kept = all(feature.treatment is KEPT for feature in found)
    about = {**question.about(), "store": str(store.folder)}
    return Scores(values, norms if kept else None, about)
