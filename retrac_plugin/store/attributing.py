"""Scores of any of our methods from a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples
from retrac_plugin.errors import InputError
from retrac_plugin.methods.attributor import (
    FeatureAttributor,
    attribute_together,
    scores_by_itself,
)
from retrac_plugin.methods.features import Feature
from retrac_plugin.store.answering import scores_from, side_from
from retrac_plugin.store.questions import question_of
from retrac_plugin.store.store import Store


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
    for name, attributor in attributors.items():
        features_of(name, attributor)
    for name, attributor in attributors.items():
        question = question_of(attributor)
        if question is not None:
            yield name, scores_from(store, question, train, queries)
            continue
        (scores,) = attribute_together([attributor], train, queries, side_from(store))
        scores.about["store"] = str(store.folder)
        yield name, scores


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


def setting_of(attributor: Any) -> Any:
    """Return how a method takes gradients."""
    own = attributor.setting
    return own.computing if isinstance(attributor, FeatureAttributor) else own
