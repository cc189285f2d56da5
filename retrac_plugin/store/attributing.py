"""Fills a store for some of our methods, and has it answer by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.methods.attributor import (
    FeatureAttributor,
    attribute_together,
    scores_by_itself,
)
from retrac_plugin.methods.features import Feature
from retrac_plugin.store.answering import scores_from, side_from
from retrac_plugin.store.featurizing import Done, featurize
from retrac_plugin.store.questions import question_of
from retrac_plugin.store.store import Store


def fill(
    store: Store,
    attributors: Mapping[str, Any],
    train: Examples,
    share: tuple[int, int] = (0, 1),
    repair: bool = False,
) -> Done:
    """Compute the features of a training set that a store lacks for some methods.

    Args:
        store: The store.
        attributors: The methods, by name; they share model and checkpoints.
        train: The training set: a dataset or a list.
        share: See ``featurizing.featurize``.
        repair: Likewise.

    Returns:
        What was done, and what is left to other processes.

    Raises:
        RetracError: If a method keeps no features, or one cannot be computed or written.
    """
    setting = setting_of(next(iter(attributors.values())))
    source = ExampleSource(train, "train")
    return featurize(store, setting, features_of_all(attributors), source, share, repair)


def attribute_from(
    store: Store, attributors: Mapping[str, Any], train: Examples, queries: Examples
) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of each method, by name, from the rows that a store has for it.

    Args:
        store: The store.
        attributors: By the name of the method.
        train: The training set; of its samples one is computed, the others are only looked up.
        queries: The images to explain.

    Raises:
        InputError: If a method needs more than rows, or the store lacks some.
    """
    features_of_all(attributors)  # what cannot be answered is refused before any work
    for name, attributor in attributors.items():
        question = question_of(attributor)
        if question is not None:
            yield name, scores_from(store, question, train, queries)
            continue
        (scores,) = attribute_together([attributor], train, queries, side_from(store))
        scores.about["store"] = str(store.folder)
        yield name, scores


def features_of_all(attributors: Mapping[str, Any]) -> list[Feature]:
    """Return the features that a store keeps for some methods, by name.

    Raises:
        InputError: If one takes none.
    """
    return [f for name, each in attributors.items() for f in features_of(name, each)]


def features_of(name: str, attributor: Any) -> Sequence[Feature]:
    """Return the features that a store keeps for a method.

    Raises:
        InputError: If it takes none.
    """
    question = question_of(attributor)
    if question is not None:
        return question.needs()
    if isinstance(attributor, FeatureAttributor) and not scores_by_itself(attributor):
        return attributor.needs()
    raise InputError(
        f"{name} cannot be asked of a store: it compares no features that are kept. Expected "
        "diffusion-tracin, diffusion-retrac, or a method on features, such as retrac-ridge"
    )


def setting_of(attributor: Any) -> Setting:
    """Return how a method takes gradients."""
    own = attributor.setting
    found: Setting = own.computing if isinstance(attributor, FeatureAttributor) else own
    return found
